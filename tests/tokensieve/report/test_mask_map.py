from __future__ import annotations

from tokensieve.report.mask_map import mask_map


def test_each_layer_has_the_share_of_each_matrix() -> None:
    found = mask_map(
        {
            "encoder.layer.4.attention.self.query": (10, 100),
            "encoder.layer.4.attention.output.dense": (0, 100),
            "encoder.layer.5.attention.self.query": (50, 100),
            "encoder.layer.5.output.dense": (25, 100),
        },
        "rows",
    )
    assert found is not None
    assert found.modules == ("query", "attention output", "output")
    assert found.layers == ("layer 4", "layer 5")
    assert found.shares == ((0.1, 0.0, None), (0.5, None, 0.25))
    assert found.note == "85 of 400 rows are trained (21.2%). Layers not shown are frozen."


def test_matrices_of_other_families_have_names() -> None:
    found = mask_map({"layers.0.mlp.gate_proj": (1, 2), "layers.0.self_attn.q_proj": (1, 2)}, "rows")
    assert found is not None
    assert found.modules == ("gate_proj", "self_attn.q_proj")


def test_a_mask_of_an_earlier_version_has_no_map() -> None:
    assert mask_map({}, "rows") is None
