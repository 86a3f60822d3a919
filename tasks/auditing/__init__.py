"""The parts of the stage audit: texts, states, label errors, the report and the review file."""
