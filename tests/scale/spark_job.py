"""A Spark job as a user writes it: score the column `text` of a Parquet file.

Called as spark_job.py MODEL INPUT OUTPUT.
"""

import sys

import mlflow
from pyspark.sql import SparkSession

model, source, target = sys.argv[1:]
spark = SparkSession.builder.master("local[2]").getOrCreate()
classify = mlflow.pyfunc.spark_udf(spark, model, env_manager="local")
rows = spark.read.parquet(source).repartition(2)
rows.withColumn("answer", classify("text")).select("id", "text", "answer.*").write.parquet(target)
spark.stop()
