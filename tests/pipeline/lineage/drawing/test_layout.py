"""Tests of where everything stands."""

import dataclasses
import itertools
import math

import pytest

from pipeline.lineage.drawing import layout as layout_module
from pipeline.lineage.drawing import select
from pipeline.lineage.drawing.layout import lay_out
from pipeline.lineage.drawing.model import Drawing, Edge


def overlap(one, two) -> bool:
    return abs(one.x - two.x) < (one.width + two.width) / 2 and abs(one.y - two.y) < (one.height + two.height) / 2


@pytest.fixture
def one_run(writer, reader) -> Drawing:
    first = writer.record("run-1")
    writer.record("run-2", baseline=first)
    return select.load_drawing(reader, "run-2")


def test_no_two_nodes_overlap(one_run):
    boxes = lay_out(one_run).boxes
    assert boxes.keys() == {node.key for node in one_run.nodes}
    assert not [pair for pair in itertools.combinations(boxes.values(), 2) if overlap(*pair)]


def test_data_runs_down_the_page(one_run):
    layout = lay_out(one_run)
    assert layout.goes_down
    for edge in one_run.edges:
        heights = [y for _, y in layout.routes[edge.source, edge.target]]
        assert heights == sorted(heights)
        assert layout.boxes[edge.source].y < layout.boxes[edge.target].y


def test_long_lines_are_pulled_taut(one_run, monkeypatch):
    def measure() -> float:
        routes = lay_out(one_run).routes.values()
        return sum(math.dist(*ends) for route in routes for ends in itertools.pairwise(route))

    taut = measure()
    monkeypatch.setattr(layout_module, "pull_taut", lambda layers, across, *_: across)
    assert taut < measure()


def test_all_is_within_the_picture(one_run):
    layout = lay_out(one_run)
    points = [corner for box in layout.boxes.values() for corner in box.corners]
    points += [point for route in layout.routes.values() for point in route]
    assert min(min(point) for point in points) >= 20
    assert max(x for x, _ in points) <= layout.width - 20
    assert max(y for _, y in points) <= layout.height - 20


def test_each_of_fifty_runs_has_its_lane(fifty_runs):
    drawing = select.load_drawing(fifty_runs, last=50)
    layout = lay_out(drawing)
    assert [lane.run for lane in layout.lanes] == [run.id for run in drawing.runs]
    for above, below in itertools.pairwise(layout.lanes):
        assert above.y + above.height < below.y
    lanes = {lane.run: lane for lane in layout.lanes}
    for node in drawing.nodes:
        box, lane = layout.boxes[node.key], lanes[node.run]
        assert lane.y < box.y - box.height / 2
        assert box.y + box.height / 2 < lane.y + lane.height
    for run in drawing.runs[:5]:
        boxes = [layout.boxes[node.key] for node in drawing.nodes if node.run == run.id]
        assert not [pair for pair in itertools.combinations(boxes, 2) if overlap(*pair)]


def test_the_same_node_of_all_runs_stands_in_one_column(fifty_runs):
    drawing = select.load_drawing(fifty_runs, last=50)
    layout = lay_out(drawing)
    columns = {layout.boxes[node.key].x for node in drawing.nodes if node.title == "Trainer"}
    assert len(columns) == 1, "runs that depend on each other's models must not wander to the right"


def test_a_graph_with_a_cycle_is_drawn(one_run):
    # A resolver that selects the model of its own run.
    resolver = next(node for node in one_run.nodes if node.title == "BaselineResolver")
    model = next(node for node in one_run.nodes if node.title == "model" and node.run == "run-2")
    back = Edge(source=model.key, target=resolver.key, kind="input", names=())
    choice = Edge(source=resolver.key, target=model.key, kind="choice", names=())
    layout = lay_out(dataclasses.replace(one_run, edges=(*one_run.edges, back, choice)))
    assert layout.routes[back.source, back.target]


def test_the_same_drawing_is_laid_out_alike(one_run):
    assert lay_out(one_run) == lay_out(one_run)


def test_nothing_is_laid_out():
    empty = Drawing(title="", name="", pipeline="", subject="", lanes=False, runs=(), nodes=(), edges=())
    assert lay_out(empty).boxes == {}
