"""The map has a tile per layer, and what it says is what is known of that layer."""

from __future__ import annotations

import pytest

from core.lab import Lab
from core.methods.roles import Layers
from core.settings import Settings
from core.study.weights.change import Changes, layer_shapes
from core.study.weights.layer_map import MAP_MEASURES, layer_map, map_numbers, map_sentence
from tests.study.changes import full_change
from tests.study.samples import make_run
from tests.study.transformers_changed import tiny_spec

SHAPES = layer_shapes(tiny_spec("bert"))
LAYERS = Layers(tuple(SHAPES))
QUERY = "bert.encoder.layer.1.attention.self.query"


def test_each_layer_has_a_tile_and_only_changed_ones_have_a_value():
    values = {path: float(place) for place, path in enumerate(SHAPES) if "attention" in path}
    heat = layer_map(LAYERS, SHAPES, MAP_MEASURES["rank"], values, QUERY, "red")
    tiles = {tile.key: tile for tile in heat.tiles}
    assert set(tiles) == set(SHAPES)
    assert {path for path, tile in tiles.items() if tile.colour} == set(values)
    assert [path for path, tile in tiles.items() if tile.frame] == [QUERY]
    tile = tiles[QUERY]
    assert (heat.rows[tile.row], heat.columns[tile.column]) == ("1", "query")
    assert tile.label.startswith("block 1, attention query, 16 → 16: rank ")
    assert tile.text == f"{values[QUERY]:.0f}"
    assert "did not change it" in tiles["bert.encoder.layer.0.output.dense"].label
    assert sum(width for _, width in heat.groups) == len(heat.columns)
    assert [name for name, _ in heat.groups][:2] == ["Attention", "Feed-forward"]
    # Drawn from the bottom to the top, so that the first block comes first.
    assert list(reversed(heat.rows))[:2] == ["0", "1"]


def test_without_any_change_the_map_is_there_and_empty():
    heat = layer_map(LAYERS, SHAPES, MAP_MEASURES["change"], {}, QUERY, "red")
    assert not any(tile.colour for tile in heat.tiles)
    assert not heat.high
    assert map_sentence(MAP_MEASURES["change"], {}) == ""


def test_the_sentence_names_the_highest_and_the_table_all():
    values = dict.fromkeys(SHAPES, 1.0) | {QUERY: 3.0}
    assert map_sentence(MAP_MEASURES["new"], values).startswith(f"Highest in {QUERY}: 3 of the 10 strongest")
    same = map_sentence(MAP_MEASURES["new"], dict.fromkeys(SHAPES, 0.0))
    assert same == f"The same in all {len(SHAPES)} layers: 0 of the 10 strongest directions are new."
    table = map_numbers(LAYERS, {"Rank": values}).set_index("Layer")
    assert table["Rank"].to_dict() == values
    assert table.loc[QUERY, ["Block", "Role", "Kind"]].tolist() == ["1", "attention", "query"]


@pytest.mark.parametrize(("limit", "reads"), [(10**9, 3), (0, 4)])
def test_changes_are_read_once_within_the_bound_and_the_latest_is_always_kept(tmp_path, limit, reads):
    runs, seen = [make_run("full", seed) for seed in range(3)], []

    def read(lab, run, base):
        seen.append(run.id)
        return full_change(run.spec.seed)

    lab = Lab(Settings(tmp_path))
    changes = Changes(limit, read)
    for run in (*runs, runs[2], runs[0]):
        assert changes.get(lab, run) is changes.get(lab, run)
    lab.close()
    assert len(seen) == reads
