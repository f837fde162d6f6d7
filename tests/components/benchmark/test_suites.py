"""Files in the benchmarks' published layouts, small ones and (where they are) real ones, as tasks."""

import gzip
import json
from pathlib import Path

import pytest

from components.benchmark.suites.table import SUITES
from components.benchmark.tasks import cut_at, make_record, select_shots, select_tasks
from components.errors import UserError
from components.metrics.constraints import CONSTRAINTS
from components.metrics.table import find_option_problems

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
ASKED = {"shots": 0, "shots_from": None, "limit": None, "seed": 0}
TRUTHFUL = [
    {
        "question": "Is it so?",
        "mc1_targets": {"Yes": 1, "No": 0},
        "mc2_targets": {"Yes": 1, "Certainly": 1, "No": 0},
    }
]
MMLU = "question,choice0,choice1,choice2,choice3,answer\n 1 + 1?,1,2,3,4,1\n"


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        data = (content if isinstance(content, str) else json.dumps(content)).encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


@pytest.fixture
def read(write):
    return lambda suite, name, content: list(SUITES[suite].read(write(name, content)))


def test_gsm8k(read):
    (task,) = read("gsm8k", "a.jsonl.gz", {"question": "2 + 2? ", "answer": "It is\n#### 4"})
    assert (task.prompt, task.answer) == ("Question: 2 + 2?\nAnswer:", "It is\n#### 4")


@pytest.mark.parametrize("content", [MMLU, MMLU.splitlines()[1], MMLU.splitlines()[1][:-1] + "B"])
def test_mmlu(read, content):
    (task,) = read("mmlu", "high_school_maths_test.csv", content)
    assert task.prompt == "1 + 1?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:"
    assert (task.choices, task.answers, task.slices) == (tuple("ABCD"), (1,), {"subject": "high_school_maths"})
    assert task.answer == "B"
    assert SUITES["mmlu"].introduce(task).endswith(" about high school maths.")


def test_bbq(read):
    record = {"context": "C.", "question": "Who?", "ans0": "A", "ans1": "B", "ans2": "Unknown", "label": 2}
    record |= {"context_condition": "ambig", "question_polarity": "neg"}
    (task,) = read("bbq", "Age.jsonl", record)
    assert (task.prompt, task.choices, task.answers) == ("C.\n\nQuestion: Who?\nAnswer:", ("A", "B", "Unknown"), (2,))
    assert task.slices == {"category": "Age", "context_condition": "ambig", "question_polarity": "neg"}


def test_squad(read):
    questions = [
        {"question": "Who?", "answers": [{"text": "A"}, {"text": "A"}, {"text": "the A"}]},
        {"question": "Unanswerable?", "answers": []},
    ]
    article = {"paragraphs": [{"context": "A did.", "qas": questions}]}
    (task,) = read("squad", "a.json", {"data": [article]})
    assert (task.prompt, task.references) == ("A did.\n\nQuestion: Who?\nAnswer:", ("A", "the A"))


def test_truthfulqa(read):
    (one,) = read("truthfulqa_mc1", "mc.json", TRUTHFUL)
    (several,) = read("truthfulqa_mc2", "mc.json", TRUTHFUL)
    assert (one.prompt, one.choices, one.answers) == ("Q: Is it so?\nA:", ("Yes", "No"), (0,))
    assert (several.choices, several.answers) == (("Yes", "Certainly", "No"), (0, 1))


def test_humaneval(read):
    record = {"task_id": "t/0", "prompt": "def f():\n", "test": "def check(g):\n    assert g() == 1\n"}
    (task,) = read("humaneval", "h.jsonl", record | {"entry_point": "f", "canonical_solution": "    return 1\n"})
    expected = "def f():\n{{completion}}\n\ndef check(g):\n    assert g() == 1\n\n\ncheck(f)\n"
    assert task.columns == {"program": expected}


def test_ifeval(read):
    record = {"prompt": "Write.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    (task,) = read("ifeval", "i.jsonl", record)
    assert task.columns == {"instruction_id_list": '["punctuation:no_comma"]', "kwargs": "[{}]"}


@pytest.mark.parametrize(
    ("suite", "name", "content", "message"),
    [
        ("gsm8k", "a.jsonl", '{"question": "a"}', r"line 1 must have the keys question, answer. Missing: answer."),
        ("gsm8k", "a.jsonl", "[1]", "line 1 must hold an object"),
        ("gsm8k", "a.jsonl", "{}{", "line 1 must be JSON"),
        ("gsm8k", "a.jsonl", {"question": 1, "answer": ""}, r"line 1: `question` must be text. Received: 1 \(int\)"),
        ("squad", "a.json", {"data": {}}, "`data` must be a list. Received: dict"),
        (
            "squad",
            "a.json",
            {"data": [{"paragraphs": [{"context": "c", "qas": [{"question": "q", "answers": ["a"]}]}]}]},
            "must hold an object with the keys text",
        ),
        ("mmlu", "a.csv", "q,a,b,c,d,e\n", "row 1: the answer must be A to D or 0 to 3. Received: 'e'"),
        ("mmlu", "a.csv", "q,a,b,c,d,\n", "row 1: the answer must be"),
        ("mmlu", "a.csv", "q,a,b,c,d,BCD\n", "row 1: the answer must be"),
        ("gsm8k", "a.jsonl", "[" * 100_000, "line 1 must be JSON"),
        ("mmlu", "a.csv", "q,a,b\n", "row 1 must have 6 columns. Received: 3"),
        ("squad", "a.json", [], "must hold an object with the keys data"),
        ("squad", "a.json", {"data": [{}]}, "Missing: paragraphs"),
        ("truthfulqa_mc1", "a.json", {}, "must hold a list of questions"),
        ("truthfulqa_mc1", "a.json", [{"question": "a", "mc1_targets": {"b": 0}}], "at least one of them to 1"),
    ],
)
def test_files_that_are_something_else(read, suite, name, content, message):
    with pytest.raises(UserError, match=message):
        read(suite, name, content)


@pytest.mark.parametrize("content", [b"\xff\xfe{}", gzip.compress(b"x" * 9999, mtime=0)[:-9]])
def test_files_that_are_damaged(tmp_path, content):
    path = tmp_path / ("a.jsonl.gz" if content[:1] == b"\x1f" else "a.jsonl")
    path.write_bytes(content)
    with pytest.raises(UserError, match="must be whole and in UTF-8"):
        list(SUITES["gsm8k"].read(path))


def test_folders_and_missing_files(tmp_path, write):
    with pytest.raises(UserError, match=r"files that end in .csv, .csv.gz"):
        SUITES["mmlu"].list_files(str(tmp_path))
    with pytest.raises(UserError, match="must be a file or a folder"):
        SUITES["mmlu"].list_files(str(tmp_path / "no"))
    names = ["b.csv", "a.csv.gz", "c.txt"]
    for name in names:
        write(name, MMLU)
    assert [path.name for path in SUITES["mmlu"].list_files(str(tmp_path))] == ["a.csv.gz", "b.csv"]
    write("empty.jsonl", "\n")
    with pytest.raises(UserError, match="must hold tasks. Received: none"):
        select_tasks(SUITES["gsm8k"], ASKED | {"data": str(tmp_path / "empty.jsonl")})


def test_sample_depends_on_seed_and_tasks_alone(write):
    lines = [json.dumps({"question": f"{i}?", "answer": f"#### {i}"}) for i in range(50)]
    forward, backward = write("a.jsonl", "\n".join(lines)), write("b.jsonl", "\n".join(lines[::-1]))

    def sample(path, seed):
        tasks = select_tasks(SUITES["gsm8k"], ASKED | {"data": str(path), "limit": 10, "seed": seed})
        return [task.prompt for task in tasks]

    assert len(set(sample(forward, 0))) == 10
    assert sample(forward, 0) == sample(backward, 0) != sample(forward, 1)


def test_shots_are_of_the_same_subject(tmp_path, write):
    for subject in ("maths", "law"):
        rows = [f"{subject} {i}?,1,2,3,4,{i % 4}" for i in range(3)]
        write(f"{subject}_dev.csv", "\n".join(rows))
    suite = SUITES["mmlu"]
    shots = select_shots(suite, ASKED | {"shots": 2, "shots_from": str(tmp_path)})
    (task, *_) = suite.read(write("law_test.csv", "asked?,1,2,3,4,0"))
    record = make_record(suite, task, shots)
    prompt = record.features.feature["prompt"].bytes_list.value[0].decode()
    parts = prompt.split("\n\n")
    assert parts[0] == "The following are multiple choice questions (with answers) about law."
    assert [part.split("\n")[0] for part in parts[1:]] == ["law 0?", "law 1?", "asked?"]
    assert parts[1].endswith("Answer: A")
    assert parts[3].endswith("Answer:")
    (other, *_) = suite.read(write("art_test.csv", "asked?,1,2,3,4,0"))
    with pytest.raises(UserError, match="must hold examples of art"):
        make_record(suite, other, shots)
    with pytest.raises(UserError, match="at least 4 examples of art. Received: 1"):
        select_shots(suite, ASKED | {"shots": 4, "shots_from": str(tmp_path)})


def test_answers_end_before_the_first_stop_text():
    assert cut_at("a\ndef b\nclass", ["\nclass", "\ndef"]) == "a"
    assert cut_at("abc", ["x"]) == "abc"
    assert cut_at("abc", []) == "abc"


def test_metrics_of_every_suite_are_known():
    for suite in SUITES.values():
        for metric in suite.metrics:
            options = {key: value for key, value in metric.items() if key != "name"}
            assert find_option_problems(metric["name"], options) == {}
        assert bool(suite.max_new_tokens) == (suite.metrics[0]["name"] != "multiple_choice")


@pytest.mark.parametrize(
    ("suite", "path", "count"),
    [
        ("gsm8k", "gsm8k/test.jsonl", 1319),
        ("gsm8k", "gsm8k/train.jsonl.gz", 7473),
        ("mmlu", "mmlu/test", 1545),
        ("mmlu", "mmlu/dev", 285),
        ("bbq", "bbq", 4880),
        ("squad", "xquad/xquad.en.json", 1190),
        ("squad", "xquad/xquad.zh.json", 1190),
        ("humaneval", "humaneval/HumanEval.jsonl.gz", 164),
        ("ifeval", "ifeval/en_input_data.jsonl", 541),
    ],
)
def test_real_files(suite, path, count):
    if not (DATA / path).exists():
        pytest.skip(f"real data are not here: {path}")
    tasks = select_tasks(SUITES[suite], ASKED | {"data": str(DATA / path)})
    assert len(tasks) == count
    assert all(task.prompt for task in tasks)
    if suite == "ifeval":
        names = {name for task in tasks for name in json.loads(task.columns["instruction_id_list"])}
        assert {name.removeprefix("en:") for name in names} <= set(CONSTRAINTS)


def test_tasks_without_answers_are_no_examples(write):
    record = {"prompt": "Write.", "instruction_id_list": [], "kwargs": []}
    path = write("i.jsonl", record)
    with pytest.raises(UserError, match="Set --shots 0"):
        select_shots(SUITES["ifeval"], ASKED | {"shots": 1, "shots_from": str(path)})
