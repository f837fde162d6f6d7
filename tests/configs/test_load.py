"""Reading configuration: every problem at once, with the rule, the value and the way out."""

import pytest
import yaml

from configs.load import ConfigError, apply_overrides, dump_config, load_runner, parse_sections, read_yaml

MINIMAL = {
    "pipeline": {"name": "a"},
    "data": {"path": "x.jsonl"},
    "model": {"preset": "gpt2_base_en"},
    "method": {"name": "full"},
    "evaluation": {"thresholds": [{"metric": "perplexity", "upper_bound": 10.0}]},
}


def problems_of(overrides):
    raw, problems = apply_overrides(MINIMAL, overrides)
    return {p.key: p.message for p in problems + parse_sections(raw)[1]}


def test_defaults_fill_what_is_not_given():
    sections, problems = parse_sections(MINIMAL)
    assert not problems
    assert sections["train"].batch_size == 16
    assert sections["data"].columns.output == "output"


def test_every_problem_of_every_section_is_reported():
    found = problems_of(
        [
            "pipeline.name=GPT2_LoRA",
            "train.epoch=3",
            "train.learning_rate=fast",
            "data.splits={train: 0.5, eval: 0.1, test: 0.1}",
            "sead=1",
        ]
    )
    assert set(found) == {"pipeline.name", "train.epoch", "train.learning_rate", "data.splits", "sead"}
    assert found["pipeline.name"] == "must match [a-z0-9][a-z0-9-]{0,127}. Received: 'GPT2_LoRA'."
    assert "Did you mean `epochs`?" in found["train.epoch"]
    assert "they sum to 0.7" in found["data.splits"]
    assert "must be a valid number. Received: 'fast'." in found["train.learning_rate"]


def test_nearest_names_reach_into_lists_and_choices():
    found = problems_of(["evaluation.thresholds=[{metric: x, upperbound: 1}]", "train.schedule=cosin"])
    assert "Did you mean `upper_bound`?" in found["evaluation.thresholds.0.upperbound"]
    assert "Did you mean `cosine`?" in found["train.schedule"]


def test_a_missing_section_is_named():
    raw = {k: v for k, v in MINIMAL.items() if k != "model"}
    assert [str(p) for p in parse_sections(raw)[1]] == ["model: this section is required."]


@pytest.mark.parametrize(
    ("override", "key", "part"),
    [
        ("train.learning_rate=.nan", "train.learning_rate", "finite"),
        ("train.batch_size=2.5", "train.batch_size", "integer"),
        ("train.batch_size=true", "train.batch_size", "integer"),
        ("train.gradient_accumulation_steps=3", "train", "multiple"),
        ("data.columns={instruction: a}", "data.columns", "needs `instruction` and `output`"),
        ("data.columns={messages: m, instruction: a}", "data.columns", "not both"),
        ("data.slice_columns=[output]", "data.slice_columns", "names a feature of the pipeline itself: output"),
        ("data.carry_columns=[prompt_length]", "data.carry_columns", "of the pipeline itself: prompt_length"),
        ("data.columns={instruction: a, output: b, tools: t}", "data.columns", "`tools` goes with `messages`"),
        ("data.columns={messages: m, input: a}", "data.columns", "not both"),
        ("data.where=reward", "data.where", "must be a key, a comparison"),
        ("data.where=[reward=1, 7]", "data.where.1", "string"),
        ("evaluation.thresholds=[]", "evaluation.thresholds", "at least 1"),
        ("evaluation.thresholds=[{metric: x}]", "evaluation.thresholds.0", "needs at least one of"),
        ("train=7", "train", "must be"),
        ("nonsense", "--set", "section.key=value"),
        ("pipeline.name=2026-99-99", "--set", "must be valid YAML"),
    ],
)
def test_wrong_values(override, key, part):
    found = problems_of([override])
    assert list(found) == [key]
    assert part in found[key]


def test_overrides_are_yaml_and_leave_the_file_alone():
    raw, problems = apply_overrides(MINIMAL, ["train.learning_rate=1e-3", "train.max_steps=null", "text.system=''"])
    assert not problems
    assert raw["train"] == {"learning_rate": 1e-3, "max_steps": None}
    assert raw["text"] == {"system": ""}
    assert "train" not in MINIMAL


def test_overrides_reach_the_items_of_lists():
    given = {
        "evaluation": {
            "thresholds": [{"metric": "loss", "upper_bound": 3}, {"metric": "perplexity"}],
            "metrics": ["rouge"],
        }
    }
    raw, problems = apply_overrides(
        given, ["evaluation.thresholds.0.upper_bound=5", "evaluation.metrics.0.use_stemmer=true"]
    )
    assert not problems
    assert raw["evaluation"]["thresholds"] == [{"metric": "loss", "upper_bound": 5}, {"metric": "perplexity"}]
    assert raw["evaluation"]["metrics"] == [{"name": "rouge", "use_stemmer": True}]
    assert given["evaluation"]["thresholds"][0]["upper_bound"] == 3
    for override in (
        "evaluation.thresholds.2.metric=x",
        "evaluation.thresholds.first=x",
        "evaluation.thresholds.-1.metric=x",
    ):
        _, (problem,) = apply_overrides(given, [override])
        assert "a key must be the number of one of its items, from 0 on" in problem.message


def test_a_section_whose_keys_are_commented_out_is_as_one_that_is_not_there():
    from configs.schema import RunConfig

    sections, problems = parse_sections(MINIMAL | {"text": None, "data": None})
    assert [(problem.key, problem.message) for problem in problems] == [("data", "this section is required.")]
    assert sections["text"] == RunConfig.model_fields["text"].default
    _, (problem,) = parse_sections(MINIMAL | {"method": "lora"})
    assert (problem.key, problem.message) == ("method", "must be a mapping of keys to values. Received: 'lora'.")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"a: [1", "is not valid YAML: line 1"),
        (b"\xff\xfe\x00", "must be UTF-8"),
        (b"- a\n- b\n", "must hold a mapping of sections, received list"),
        (b"", "received NoneType"),
        (b"a: 1\na: 2\n", "the key 'a' is given twice"),
        (b"a: !!python/object/apply:os.system [ls]", "is not valid YAML"),
        (b"1: 2\n", "a key must be text, received 1"),
        (b"x: " + b"a" * 1_000_001, "at most 1000000 bytes"),
        (b"a: &a [*a]\nb: \x00", "is not valid YAML"),
        (b"a: &a [1]\nb: *a\n", "line 2, column 4: aliases (*name) are not accepted, write the value out"),
    ],
)
def test_bad_files(tmp_path, content, part):
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="has 1 problem") as caught:
        read_yaml(str(path))
    assert part in str(caught.value)


def test_a_file_that_stands_for_gigabytes_is_refused_at_once(tmp_path):
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
    path = tmp_path / "bomb.yaml"
    path.write_text(f"{bomb}generation: {{stop: *a11}}\n")
    with pytest.raises(ConfigError, match=r"aliases \(\*name\) are not accepted"):
        read_yaml(str(path))
    _, (problem,) = apply_overrides({}, ["generation.stop={a: &a [x], b: *a}"])
    assert "must be valid YAML" in problem.message


def test_long_values_are_cut_in_messages(tmp_path):
    _, problems = parse_sections(MINIMAL | {"generation": {"max_new_tokens": "x" * 100_000}})
    text = str(ConfigError("run.yaml", problems))
    assert "generation.max_new_tokens" in text
    assert len(text) < 2000


@pytest.mark.parametrize("value", ["sk-proj-abcDEF123456", "hf_abcdefghijkl", "a b", "", "1X", "x" * 200, "aB3" * 8])
def test_what_may_be_a_key_is_refused_and_not_repeated(tmp_path, value):
    path = tmp_path / "runner.yaml"
    metadata = {"kind": "mysql", "database": "d", "user": "u", "password_env": value}
    path.write_text(yaml.safe_dump({"kind": "local", "root": "r", "metadata": metadata}))
    with pytest.raises(
        ConfigError, match=r"metadata\.password_env: must be the name of an environment variable"
    ) as caught:
        load_runner(str(path))
    assert not value or value not in str(caught.value)
    text = str(ConfigError("x", find_metric_problems(value)))
    assert "must be the name of an environment variable" in text
    assert not value or value not in text


def find_metric_problems(value):
    from components.metrics.table import METRICS
    from components.options import find_option_problems
    from configs.load import Problem

    options = {"endpoint": "https://judge.example/v1", "model": "m", "api_key_env": value}
    return [Problem(key, text) for key, text in find_option_problems(METRICS, "metric", "judge", options).items()]


@pytest.mark.parametrize("root", ["runs/exp [x]", "a*", "what?", ""])
def test_a_root_that_would_be_taken_for_a_pattern_is_refused(tmp_path, root):
    path = tmp_path / "runner.yaml"
    path.write_text(yaml.safe_dump({"kind": "local", "root": root}))
    expected = r"root: must (be a folder whose whole path has none of \* \? \[ \]|name a folder)"
    with pytest.raises(ConfigError, match=expected):
        load_runner(str(path))
    assert load_runner(str(path), ["root='a b, (c) {d}'"]).root == "a b, (c) {d}"


def test_a_root_is_looked_at_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / "runner.yaml"
    path.write_text("kind: local")
    (tmp_path / "exp [x]").mkdir()
    monkeypatch.chdir(tmp_path / "exp [x]")  # where the default, `runs`, would be
    with pytest.raises(
        ConfigError, match=r"root: must be a folder whose whole path has none.*exp \[x\]/runs.*--root FOLDER"
    ):
        load_runner(str(path))
    (tmp_path / "link").symlink_to(tmp_path / "exp [x]")
    with pytest.raises(ConfigError, match="whose whole path has none"):
        load_runner(str(path), [f"root={tmp_path / 'link'}"])
    monkeypatch.chdir(tmp_path)
    assert load_runner(str(path)).root == "runs"


@pytest.mark.parametrize(
    ("root", "told"),
    [
        ("gs://bucket/runs", "must be a folder of this machine, not an address"),
        ("file:///srv/runs", "must be a folder of this machine, not an address"),
        ("~/runs", "must be a path without `~`, which only shells read"),
        ("$HOME/runs", "must be a path without variables, which only shells read"),
        ("${DATA}/runs", "must be a path without variables"),
        ("%USERPROFILE%/runs", "must be a path without variables"),
        ("runner.yaml", "must be a folder, or be to become one"),
        ("runner.yaml/runs", "must be a folder, or be to become one"),
    ],
)
def test_a_root_that_no_file_can_be_below_is_refused(tmp_path, monkeypatch, root, told):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "runner.yaml"
    path.write_text(yaml.safe_dump({"kind": "local", "root": root}))
    with pytest.raises(ConfigError, match=f"root: {told}"):
        load_runner(str(path))


def test_a_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "gpt2_lora.yaml").write_text("")
    with pytest.raises(ConfigError, match="Did you mean `gpt2_lora.yaml`"):
        read_yaml(str(tmp_path / "gpt2_lra.yaml"))
    with pytest.raises(ConfigError, match="no such file"):
        read_yaml(str(tmp_path))


def test_a_dumped_configuration_reads_back(tmp_path):
    from configs.schema import RunConfig

    sections, _ = parse_sections(MINIMAL)
    config = RunConfig(**sections)
    path = tmp_path / "dump.yaml"
    path.write_text(dump_config(config))
    again, problems = parse_sections(read_yaml(str(path)))
    assert not problems
    assert RunConfig(**again) == config


def test_runner_on_mysql_needs_its_fields(tmp_path):
    path = tmp_path / "runner.yaml"
    path.write_text("kind: local\nmetadata: {kind: mysql, prt: 3}\n")
    with pytest.raises(ConfigError) as caught:
        load_runner(str(path))
    assert {p.key for p in caught.value.problems} == {"metadata.database", "metadata.user", "metadata.prt"}
    config = load_runner(str(path), ["metadata={kind: mysql, database: d, user: u}"])
    assert config.metadata.port == 3306
    with pytest.raises(ConfigError, match=r"metadata\.password"):
        load_runner(str(path), ["metadata={kind: mysql, database: d, user: u, password: secret}"])


@pytest.mark.parametrize("path", ["~/store.sqlite", "$HOME/store.sqlite"])
def test_a_store_in_a_folder_that_only_a_shell_knows_is_refused(tmp_path, path):
    (tmp_path / "runner.yaml").write_text("kind: local\n")
    with pytest.raises(ConfigError, match=r"metadata\.path: must be a path without"):
        load_runner(str(tmp_path / "runner.yaml"), [f"metadata={{kind: sqlite, path: {path}}}"])


@pytest.mark.parametrize(
    "host", ["me:secret@db", "mysql://db", "mysql://me:secret@db", "db/x", "db host", "db?password=secret"]
)
@pytest.mark.parametrize(
    "section", ["kind: mysql, database: d, user: u", "kind: postgresql, database: d, user: u", "kind: grpc"]
)
def test_a_host_is_the_name_of_a_machine_alone(tmp_path, host, section):
    path = tmp_path / "runner.yaml"
    path.write_text("kind: local\n")
    with pytest.raises(
        ConfigError, match=r"metadata\.host.*must be the name or the address of a machine alone"
    ) as caught:
        load_runner(str(path), [f'metadata={{{section}, host: "{host}"}}'])
    assert "secret" not in str(caught.value)
    for fine in ("db", "10.0.0.1", "::1", "db.example.com"):
        assert load_runner(str(path), [f'metadata={{{section}, host: "{fine}"}}']).metadata.host == fine


@pytest.mark.parametrize(("kind", "is_fine"), [("postgresql", True), ("mysql", False)])
def test_postgresql_may_be_behind_a_socket(tmp_path, kind, is_fine):
    (tmp_path / "runner.yaml").write_text("kind: local\n")
    override = f"metadata={{kind: {kind}, database: d, user: u, host: /var/run/postgresql}}"
    if is_fine:
        assert load_runner(str(tmp_path / "runner.yaml"), [override]).metadata.host == "/var/run/postgresql"
    else:
        with pytest.raises(ConfigError, match="metadata.host"):
            load_runner(str(tmp_path / "runner.yaml"), [override])


def test_every_feature_of_the_pipeline_is_a_name_that_columns_may_not_have():
    from components.text import features
    from configs.schema import _FEATURES

    assert {value for name, value in vars(features).items() if name.isupper() and isinstance(value, str)} == _FEATURES
