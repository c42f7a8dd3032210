"""Experiments as files on the command line: what is saved runs as it would without a file, and nothing beside it."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from core.__main__ import main, parser
from core.cli.asked import BESIDE_CONFIG, check_consistent
from core.cli.compare import asked, launch
from core.data.task_spec import TaskSpec
from core.errors import LabError, SpecError
from core.lab import Lab
from core.methods.full import FullSpec
from core.methods.pretrain import PretrainSpec
from core.networks.library.networks import Networks
from core.plan.configuration import Configuration
from core.plan.configuration_file import read_configuration, write_configuration
from core.run_spec import default_optim
from core.settings import Settings
from core.store.record import Experiment
from tests.conftest import short
from tests.networks.tiny import save_tiny
from tests.text_home import PETS, import_tiny, pets

LINES = [
    "--source digits",
    "--source digits --rank 1 4 --tune 3 --controls head biases --seeds 3 --vary-bases --device cpu",
    "--source digits --preset ten-shot --shots 4 --adapters lora dora --lr-lora 0.02 --targets layers.0 --alpha 3",
    "--source digits --measure macro_f1 --within 1",
    "--source digits --scaling 'alpha/sqrt(r)' --start gaussian --alpha 0.123456789 --measure loss "
    "--within 0.0123456789",
    "--source digits --preset same --shots 7 --tune 9 --lr-full 1 --lr-lora 0.0316 --weight-decay 0.05 --decay cosine "
    "--warmup 0.25 --clip 0.3 --patience 2 --keep best --batch-size 128",
    "--network tiny-bert --source pets --preset split --weight-decay 0.1 --length 24",
    "--network tiny-bert --target pets --direct --shots 5 --epochs 2 --tune",
    "--network tiny-llama --objective language --target pets --direct --forgetting definitions --length 24",
]
"""Options of ``compare``."""


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a tiny network and texts."""
    folder = tmp_path_factory.mktemp("brought")
    with closing(Lab(Settings(home=folder / "home"))) as lab:
        import_tiny(lab, folder / "tiny")
        lab.networks.import_folder(save_tiny(folder / "llama", "llama"), "tiny-llama")
    return folder / "home"


@pytest.fixture
def waiting(brought: Path, tmp_path: Path) -> Iterator[Lab]:
    """A lab with that network that queues and never trains."""
    home = Path(shutil.copytree(brought, tmp_path / "home"))
    with closing(Lab(Settings(home=home, max_waiting=2000))) as lab:
        yield lab


def launched(lab: Lab, line: str) -> Experiment:
    return launch(lab, parser().parse_args(["compare", *shlex.split(line)]))


def specs_of(lab: Lab, experiment: Experiment) -> list[str]:
    """Specs of all runs and their bases, without ids."""
    runs = lab.store.members(experiment)
    bases = [lab.store.run(run.spec.base).spec for run in runs if run.spec.base]
    return [spec.to_json() for spec in (*(run.spec.but(base=run.spec.base and "base") for run in runs), *bases)]


OF_FINE_TUNING = (
    "--decay constant --warmup 0.3 --weight-decay 0.1 --clip 0.5 --patience 2 --keep best --batch-size 4 --epochs 2 "
    "--lr-full 0.01 --lr-lora 0.02 --rank 2 --alpha 3 --shots 3 --measure macro_f1 --within 2"
)
"""Options that say how a base is fine-tuned."""


@pytest.mark.parametrize("line", ["--source digits", "--network tiny-bert --source pets --preset split --length 24"])
def test_options_of_fine_tuning_leave_the_base_as_it_is_and_so_one_base_serves_all(line: str, waiting: Lab) -> None:
    head = " --head-rate 0.02" if "--network" in line else ""
    first, second = launched(waiting, line), launched(waiting, f"{line} {OF_FINE_TUNING}{head}")
    (base,) = {run.spec.base for run in waiting.store.members(first)}
    assert {run.spec.base for run in waiting.store.members(second)} == {base}
    optim = waiting.store.members(second)[0].spec.optim
    assert (optim.decay, optim.warmup, optim.clip, optim.batch_size) == ("constant", 0.3, 0.5, 4)
    spec = waiting.store.run(str(base)).spec
    assert spec.optim == default_optim(PretrainSpec, spec.network)
    with asked(waiting, parser().parse_args(["compare", *shlex.split(f"{line} --precision bfloat16")])) as other:
        assert other.base == spec
        assert {arm.optim.precision for arm in other.arms} == {"bfloat16"}


def test_what_saves_memory_holds_for_the_base_too_in_parts_no_smaller_than_an_example(waiting: Lab) -> None:
    options = "--batch-size 512 --accumulation 256 --recompute --pretrain-epochs 2"
    experiment = launched(waiting, f"--network tiny-bert --source pets --preset split --length 24 {options}")
    (base,) = {run.spec.base for run in waiting.store.members(experiment)}
    spec = waiting.store.run(str(base)).spec
    usual = default_optim(PretrainSpec, spec.network)
    assert spec.optim == usual.but(accumulation=usual.batch_size, recompute=True, epochs=2)


def test_without_a_source_the_part_of_mnist_is_pretrained_on(waiting: Lab) -> None:
    experiment = launched(waiting, "--preset inversion")
    (base,) = {run.spec.base for run in waiting.store.members(experiment)}
    assert waiting.store.run(base).spec.task == TaskSpec.of(dataset="mnist-16k")
    assert {run.spec.task for run in waiting.store.members(experiment)} == {
        TaskSpec.of(dataset="mnist-16k", invert=True)
    }


@pytest.mark.parametrize("line", LINES)
def test_a_saved_file_and_that_of_the_experiment_queue_what_the_options_would_have_queued(
    waiting: Lab, tmp_path: Path, line: str
) -> None:
    file = tmp_path / "experiment.json"
    before = len(waiting.store.runs())
    assert main(["compare", *shlex.split(line), "--save-config", str(file), "--home", str(waiting.settings.home)]) == 0
    assert len(waiting.store.runs()) == before
    direct = launched(waiting, line)
    again = launched(waiting, f"--config {file}")
    assert specs_of(waiting, again) == specs_of(waiting, direct)
    text = write_configuration(waiting.experiments.configuration(direct))
    file.write_text(text, encoding="utf-8-sig", newline="\r\n")  # as Windows saves it
    assert specs_of(waiting, launched(waiting, f"--config {file}")) == specs_of(waiting, direct)
    assert (again.name, again.trim) == (f"{direct.name} (2)", direct.trim)


def test_a_file_from_a_page_runs_and_prints_what_the_same_options_print(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, line = tmp_path / "experiment.json", "--source digits --epochs 1 --pretrain-epochs 1 --seeds 2 --device cpu"
    printed = []
    for name in ("options", "file"):
        home = str(tmp_path / name)
        options = shlex.split(line) if name == "options" else ["--config", str(file)]
        assert main(["compare", *options, "--home", home, "--json"]) == 0
        printed.append(json.loads(capsys.readouterr().out))
        with closing(Lab(Settings(home=Path(home)))) as lab:
            (experiment,) = lab.store.experiments()
            file.write_text(write_configuration(lab.experiments.configuration(experiment)))
    one, two = printed
    assert two.keys() == one.keys()
    assert [arm["label"] for arm in two["arms"]] == [arm["label"] for arm in one["arms"]]
    for own, other in zip(one["arms"], two["arms"], strict=True):
        assert other["accuracy"] == pytest.approx(own["accuracy"], abs=0.6)  # a bank's rounding moves an image or two


def test_the_device_beside_a_file_goes_before_that_of_the_file(
    waiting: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "experiment.json"
    home = ["--home", str(waiting.settings.home)]
    main(["compare", "--source", "digits", "--save-config", str(file), *home])
    assert (
        "would be shown by 8 seeds on 360 test images with 80 % probability if they differ as much as"
        in capsys.readouterr().err
    )
    file.write_text(file.read_text().replace('"auto"', '"cuda"'))
    with pytest.raises(LabError, match="cuda"):
        launched(waiting, f"--config {file}")
    assert waiting.store.runs() == []
    members = waiting.store.members(launched(waiting, f"--config {file} --device cpu"))
    assert {run.spec.device for run in members} == {waiting.store.run(members[0].spec.base).spec.device} == {"cpu"}


@pytest.mark.parametrize(
    "option",
    [
        *("--source digits", "--rank 4", "--seeds 8", "--vary-bases", "--longer 1", "--save-config x.json"),
        *("--adapters lora", "--measure accuracy", "--within 0.5"),
    ],
)
def test_an_option_that_says_what_is_trained_is_refused_beside_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """Also where it says what is the default."""
    home = tmp_path / "home"
    status = main(["compare", "--config", "none.json", *shlex.split(option), "--home", str(home)])
    name = option.split()[0]
    sentence = f"error: The file of --config says what is trained: change it there, and leave {name} out.\n"
    assert (status, capsys.readouterr().err) == (1, sentence)
    assert not home.exists()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("--lr-dora 0.01", "--lr-dora is a rate of DoRA: add dora to --adapters, or leave it out."),
        ("--adapters dora --lr-lora 0.01", "--lr-lora is a rate of LoRA: add lora to --adapters, or leave it out."),
        ("--save-config x.json --json", "--save-config trains nothing: leave --json out."),
        ("--report r.html --save-config x.json", "--save-config trains nothing: leave --report out."),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, line: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "--source", "digits", *shlex.split(line), "--seeds", "0", "--home", "home"]) == 1
    assert capsys.readouterr().err == f"error: {sentence}\n"
    assert list(tmp_path.iterdir()) == []


def test_options_that_say_where_to_train_and_how_to_answer_are_taken_beside_a_file() -> None:
    beside = "--home h --device cpu --report r.html --json --tune"
    options = parser().parse_args(["compare", "--config", "x.json", *shlex.split(beside)])
    assert set(options.given) == {"--config", *BESIDE_CONFIG}
    check_consistent(options)


def test_rates_that_a_file_gives_are_searched_for_where_that_is_asked(waiting: Lab, tmp_path: Path) -> None:
    given = launched(waiting, "--source digits --seeds 2")
    file = tmp_path / "given.json"
    file.write_text(write_configuration(waiting.experiments.configuration(given)))
    found = waiting.experiments.configuration(launched(waiting, f"--config {file} --tune"))
    assert found.asks_the_same(waiting.experiments.configuration(given).searched())
    file.write_text(write_configuration(found))
    for more, sentence in (("--tune", "searches for the learning rates already"), ("--tune 3", "leave its number out")):
        with pytest.raises(SpecError, match=sentence):
            launched(waiting, f"--config {file} {more}")
    assert len(waiting.store.experiments()) == 2


def test_a_file_that_is_not_there_is_one_sentence_and_nothing_is_queued(waiting: Lab, tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"cannot be read: No such file or directory\."):
        launched(waiting, f"--config {tmp_path / 'none.json'}")
    assert (waiting.store.runs(), waiting.store.experiments()) == ([], [])


def test_a_dataset_of_somebody_else_has_to_be_brought_along(waiting: Lab, tmp_path: Path) -> None:
    network = waiting.networks.spec(waiting.networks.list()[0].digest)
    waiting.catalog.keep(pets(), "theirs")
    asked = Configuration.on(network, PETS.but(dataset="theirs"), [(short(), FullSpec())], [0])
    text = write_configuration(asked)
    waiting.catalog.remove("theirs")
    with pytest.raises(SpecError, match=r"^task\.dataset: There is no dataset 'theirs'"):
        read_configuration(text, waiting.catalog, waiting.networks)


def test_a_network_that_is_missing_is_brought_by_its_name_and_other_files_are_refused(tmp_path: Path) -> None:
    source, lab = (Lab(Settings(home=tmp_path / name)) for name in ("source", "here"))
    import_tiny(source, tmp_path / "tiny")
    save_tiny(tmp_path / "other", seed=1)
    lab.catalog.keep(pets(), "pets")
    network = source.networks.spec(source.networks.list()[0].digest)
    text = write_configuration(Configuration.on(network, PETS, [(short(), FullSpec())], [0]))

    def bring(networks: Networks, folder: str) -> Configuration:
        return read_configuration(
            text, lab.catalog, networks, lambda name: networks.import_folder(tmp_path / folder, name)
        )

    with pytest.raises(SpecError, match=r"^network: 'tiny-bert' has other files now, \w+, than this experiment, "):
        bring(lab.networks, "other")
    assert bring(lab.networks, "tiny").start.brought == network.brought
    assert read_configuration(text, lab.catalog, lab.networks).start.brought == network.brought
    for each in (source, lab):
        each.close()
