from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from distilgan.errors import UserError
from distilgan.recipe import (
    BaseRecipe,
    difference,
    dump_recipe,
    known_keys,
    load_recipe,
    packaged,
    parse_recipe,
)
from distilgan.recipe.overrides import apply_override


@pytest.mark.parametrize("name", packaged())
def test_packaged_recipes_are_valid_and_round_trip(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    again = parse_recipe(yaml.safe_load(dump_recipe(recipe)), "dump")
    assert again == recipe
    assert load_recipe(name, smoke=True).training.images <= 64


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainig.batch=4", r"unknown key trainig; did you mean training\.batch|unknown key trainig"),
        ("training.bach=4", r"unknown key training\.bach; did you mean training\.batch"),
        ("training.batch=many", r"training\.batch='many': input should be a valid integer"),
        ("training.batch=0", r"training\.batch=0: input should be greater than or equal to 1"),
        ("student.score=best", r"student\.score='best': input should be 'dcp', 'cagc', 'l1' or 'random'"),
        ("student=3", r"student=3"),
        ("training.batch", "is not an override: write key=value"),
        ("seed.x=1", "seed is a single value, not a section|seed"),
        ("training.micro_batch=5", r"training\.batch=16 is not a multiple of training\.micro_batch=5"),
        ("teacher=null", "teacher is null: then student.init must be random"),
        ("data.resolution=48", r"data\.resolution=48: must be a power of two"),
        ("optimiser.lr=.inf", r"optimiser\.lr"),
        ("losses.gan=-1", r"losses\.gan=-1: "),
        ("losses={gan: 0, pixel: 0, perceptual: 0, latent_direction: 0}", "every weight is 0"),
        ("student.channels=[0, 4]", r"student\.channels\.0=0"),
        ("method=styelkd", "method='styelkd' is unknown"),
    ],
)
def test_wrong_overrides_get_one_line_that_names_the_key(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_recipe("stylekd-faces", [override])
    assert "\n" not in str(caught.value)


def test_overrides_are_yaml() -> None:
    recipe = load_recipe(
        "stylekd-faces", ["student.channels=[8, 8]", "student.train_mapping=false", "evaluation.data=null"]
    )
    assert recipe.method == "stylekd"
    assert recipe.student.channels == [8, 8]
    assert recipe.student.train_mapping is False
    assert recipe.evaluation.data is None


def test_unknown_recipes_and_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown recipe 'stylekd-face'; did you mean stylekd-faces"):
        load_recipe("stylekd-face")
    with pytest.raises(UserError, match="no such file"):
        load_recipe(str(tmp_path / "a.yaml"))
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [1")
    with pytest.raises(UserError, match="not valid YAML"):
        load_recipe(str(bad))
    bad.write_text("- a\n- b")
    with pytest.raises(UserError, match="expected keys and values"):
        load_recipe(str(bad))


def test_difference_names_what_decides_the_weights() -> None:
    recipe = load_recipe("stylekd-faces")
    assert difference(recipe, load_recipe("stylekd-faces", ["training.report=7", "evaluation.samples=9"])) is None
    found = difference(recipe, load_recipe("stylekd-faces", ["student.keep=0.5"]))
    assert found == "student.keep is 0.3 there and 0.5 here"


def test_apply_override_makes_sections() -> None:
    tree: dict[str, object] = {}
    apply_override(tree, "a.b.c=1e-3")
    assert tree == {"a": {"b": {"c": "1e-3"}}} or tree == {"a": {"b": {"c": 0.001}}}
    assert "training.batch" in known_keys("gan")


def test_a_licence_holds_for_its_own_teacher_and_data_only() -> None:
    assert "CC0" in load_recipe("stylekd-faces", ["training.images=9"]).licence
    for override in ("data.path=photos", "teacher=runs/mine"):
        assert load_recipe("stylekd-faces", [override]).licence == ""
    assert load_recipe("stylekd-faces", ["data.path=photos", "licence=mine"]).licence == "mine"


def test_other_images_are_not_measured_against_the_recipes_own() -> None:
    assert load_recipe("stylekd-faces").evaluation.data
    recipe = load_recipe("stylekd-faces", ["data.path=photos"])
    assert recipe.evaluation.data is None
    assert recipe.description == ""
    assert load_recipe("stylekd-faces", ["data.path=photos", "evaluation.data=kept"]).evaluation.data == "kept"
    assert load_recipe("stylekd-faces", ["teacher=mine"]).evaluation.data
    section = load_recipe("stylekd-faces", ["data.path=photos", "evaluation={data: kept, samples: 10}"]).evaluation
    assert (section.data, section.samples) == ("kept", 10)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("student.keep=7", "student.keep=7: input should be less than or equal to 1"),
        ("student=3", "student=3: is a section; set one of its keys, student.KEY=VALUE"),
        ("regularisation.diffaugment=[cut]", "regularisation.diffaugment.0='cut': input should be 'color', "),
        ("data.path=''", "data.path='': string should have at least 1"),
        ("seed=99999999999999999999", "seed=99999999999999999999: is too large"),
        ("teacher=''", "teacher='': string should have at least 1"),
        ("teacher=null", "recipe "),  # a complaint about several keys is about the recipe
    ],
)
def test_a_wrong_override_is_named_and_not_the_recipe(override: str, line: str) -> None:
    with pytest.raises(UserError) as error:
        load_recipe("stylekd-faces", [override])
    assert str(error.value).startswith(line)


def test_precision_may_be_a_number() -> None:
    assert load_recipe("stylekd-faces", ["training.precision=32"]).training.precision == "32"


def test_a_run_may_become_longer_but_not_shorter() -> None:
    def run(images: int, decay: float) -> BaseRecipe:
        return load_recipe("stylekd-faces", [f"optimiser.decay={decay}", f"training.images={images}"])

    assert difference(run(8000, decay=0), run(9000, decay=0)) is None
    assert difference(run(8000, decay=0), run(7000, decay=0)) == "training.images is 8000 there and 7000 here"
    # Its last batch of 16 went beyond the end.
    assert difference(run(8001, decay=0), run(9000, decay=0)) == "training.images is 8001 there and 9000 here"
    # A falling rate is tied to the length: the longer run would have had other rates from the start.
    assert difference(run(8000, decay=0.5), run(9000, decay=0.5)) == "training.images is 8000 there and 9000 here"
    # So is a falling weight.
    published = load_recipe("tinygan-as-published")
    longer = load_recipe("tinygan-as-published", ["training.images=200000"])
    assert difference(published, longer) == "training.images is 100000 there and 200000 here"


def test_smoke_leaves_broken_sections_to_the_validator(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: a\nmethod: gan\ndata:\ntraining: {images: 8}\n")
    with pytest.raises(UserError, match="data"):
        load_recipe(str(tmp_path / "r.yaml"), smoke=True)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["teacher=null"], r"teacher is null and there is no pairs\.store: then losses\.feature must be 0"),
        (["losses={feature: 0, pixel: 0, distill_gan: 0, gan: 0}"], "every weight is 0"),
        (["losses.critic_distill=0", "losses.critic_gan=0"], "the critic would learn nothing"),
        (["critic.architecture=resnet"], r"critic\.architecture='resnet'"),
        (["student.channels=[0, 4]"], r"student\.channels\.0=0"),
        (["pairs.stor=x"], r"unknown key pairs\.stor; did you mean pairs\.store"),
        (["losses.adversarial_every=0"], r"losses\.adversarial_every=0"),
        (["pairs.truncation=0"], r"pairs\.truncation=0"),
        (["losses.feature_layers=[]"], r"losses\.feature_layers=\[\]"),
        (["losses.feature_layers=[0, 0, 0]"], r"losses\.feature_layers=\[0\.0, 0\.0, 0\.0\]: all are 0"),
        (["losses={feature: 0, distill_gan: 0, gan: 0, pixel_fall: 0.5}"], "nothing would be learnt after it"),
        (["losses.pixel_steps=20"], r"pixel_steps needs losses\.pixel_fall"),
        (
            ["student.architecture=distylegan", "student.skip_z=true"],
            r"student\.skip_z: .* has none",
        ),
        (["like=builtin:fashion32-teacher"], "like: is for runs without a teacher"),
        (["teacher=null", 'like=""'], r"like=.*at least 1 character"),
        (["losses.feature=0", "losses.feature_layers=[1, 1, 1]"], r"feature_layers: losses\.feature is 0"),
        (["losses={feature: 0, pixel: 0, adversarial_every: 4000}"], "the run has 3125 steps and no other term"),
        (
            ["losses={feature: 0, pixel: 0, distill_gan: 0, critic_distill: 0}", "pairs.latent=uniform"],
            r"pairs\.latent: no term uses",
        ),
        (["losses.pixel_fall=1e-320"], r"losses\.pixel_fall"),
        (["evaluation.classifier_images=1"], r"classifier_images=1: give at least 8, or 0"),
        (["method=tynigan"], "method='tynigan' is unknown; did you mean tinygan"),
    ],
)
def test_wrong_keys_of_the_conditional_family(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_recipe("tinygan", overrides)
    assert "\n" not in str(caught.value)


def test_a_store_can_stand_for_a_teacher() -> None:
    recipe = load_recipe("tinygan", ["teacher=null", "pairs.store=somewhere"])
    assert recipe.compared_with is None
    assert recipe.other_sources() == {"pairs.store": "somewhere"}


def test_published_presets_have_the_published_weights() -> None:
    """TinyGAN's and DiStyleGAN's code: λ1 0.2, λ2 0.01, λ3 0.2 λ2, λ4 0.2; every 5th and 10th step."""
    for name, every in (("tinygan", 1), ("tinygan-as-published", 5), ("distylegan-as-published", 10)):
        losses = load_recipe(name).model_dump()["losses"]
        assert (losses["pixel"], losses["distill_gan"], losses["gan"], losses["critic_gan"]) == (0.2, 0.01, 0.002, 0.2)
        assert (losses["feature"], losses["critic_distill"]) == (1, 1)
        assert losses["adversarial_every"] == every
        assert losses["fresh_features"] == (name == "tinygan")
    distyle = load_recipe("distylegan-as-published").model_dump()
    steps = distyle["training"]["images"] / distyle["training"]["batch"]
    assert distyle["losses"]["pixel_fall"] * steps == pytest.approx(20)
    assert distyle["pairs"]["latent"] == "uniform"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["unsupervised.nce=0"], r"unsupervised\.identity: needs unsupervised\.nce or contrast above 0"),
        (["unsupervised={nce: 0, identity: false}"], "are 0: nothing keeps the scene"),
        (["unsupervised.gan=0"], r"unsupervised\.gan and supervised\.weight are 0: nothing says what the style looks"),
        (["supervised.weight=1"], r"data\.pairs is missing: the supervised branch needs pairs"),
        (["data.pairs=somewhere"], r"data\.pairs: supervised\.weight is 0; leave them out"),
        (
            ["data.pairs=somewhere", "supervised={weight: 1, gan: 0, nce: 0}"],
            r"supervised\.gan and nce are 0: set supervised\.weight=0 instead",
        ),
        (["supervised.start=0.5"], r"supervised\.start: schedule=cosine_decay does not use it"),
        (["supervised={schedule: linear_ramp, start: 1}"], r"supervised\.start=1: input should be less than 1"),
        (["supervised.schedule=sometimes"], r"supervised\.schedule='sometimes': input should be 'constant', "),
        (["network.channels=[64]"], r"network\.channels=\[64\]"),
        (["network.channels=[0, 4]"], r"network\.channels\.0=0"),
        (["network.blocks=0"], r"network\.blocks=0"),
        (["contrast.taps=[]"], r"contrast\.taps=\[\]"),
        (["contrast.places=1"], r"contrast\.places=1"),
        (["contrast.temperature=0"], r"contrast\.temperature=0"),
        (["contrast.hard_mode=official"], r"contrast\.hard_mode='official': input should be 'code' or 'paper'"),
        (["critic.loss=wgan"], r"critic\.loss='wgan'"),
        (["critic.r1_last=3"], r"critic\.r1_last: r1_gamma=0 has nothing to fade from; set it"),
        (["data.resolution=16"], r"critic\.layers=3: nothing would be left to score of data\.resolution=16; use fewer"),
        (["data.zoom=0.5"], r"data\.zoom=0\.5"),
        (["data.stile=x"], r"unknown key data\.stile; did you mean data\.style"),
    ],
)
def test_wrong_keys_of_a_translators_training(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_recipe("cut", overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["teacher=null"], "teacher is null: name the translator whose sizes are taken in `like`"),
        (["teacher=null", "like=x"], r"teacher is null: then distillation\.output must be 0"),
        (["like=x"], "like: is for runs without a teacher"),
        (
            ["teacher=null", "like=x", "distillation={output: 0, contrast: 1}"],
            r"teacher is null: then distillation\.contrast must be 0",
        ),
        (["teacher=null", "like=x", "distillation.output=0"], r"teacher is null: set student\.init=fresh"),
        (
            ["teacher=null", "like=x", "distillation.output=0", "student.init=fresh", "supervised.weight=1"],
            r"the supervised branch needs data\.pairs, or supervised\.weight=0",
        ),
        (["data.pairs=somewhere"], r"data\.pairs: supervised\.weight is 0; leave them out"),
        (["unsupervised.gan=0", "distillation={output: 0, alignment: 1}"], "nothing says what the style looks like"),
        (["student={solver: dopri5, steps: 2}"], r"student\.steps: solver=dopri5 does not use it; leave it out"),
        (["student.rtol=0.1"], r"student\.rtol: solver=euler does not use it"),
        (["student={solver: rk4, adjoint: true}"], r"student\.adjoint: solver=rk4 does not use it"),
        (["student.solver=heun"], r"student\.solver='heun': input should be 'euler', 'midpoint', 'rk4' or 'dopri5'"),
        (["student.steps=0"], r"student\.steps=0"),
        (["balancer.kind=famo"], "balancer.kind=famo: needs two of the terms output, high_frequency, perceptual"),
        (
            ["balancer.kind=famo", "distillation.alignment=1", "training.micro_batch=2"],
            "balancer.kind=famo: weighs whole batches",
        ),
        (["unsupervised.identity=true"], r"unsupervised\.identity: needs unsupervised\.nce or contrast"),
        (["supervised={weight: 1, gan: 0, nce: 0}"], r"supervised\.gan and nce are 0"),
        (["critic.r1_last=3"], r"critic\.r1_last: r1_gamma=0 has nothing to fade from; set it"),
        (["data.resolution=16"], r"critic\.layers=3: nothing would be left to score of data\.resolution=16"),
    ],
)
def test_wrong_keys_of_a_translators_distillation(overrides: list[str], message: str) -> None:
    plain = ["distillation={output: 10}", "unsupervised={gan: 1}"]  # whatever the packaged recipe weighs besides
    with pytest.raises(UserError, match=message) as caught:
        load_recipe("nijigan", [*plain, *overrides])
    assert "\n" not in str(caught.value)


def test_a_small_picture_needs_fewer_layers_of_its_critic_or_none() -> None:
    assert load_recipe("cut", ["data.resolution=24"]).data.resolution == 24
    assert load_recipe("cut", ["data.resolution=16", "critic.layers=2"]).data.resolution == 16
    assert load_recipe("nijigan", ["data.resolution=16", "unsupervised.gan=0"]).data.resolution == 16


@pytest.mark.parametrize(
    ("overrides", "follows"),
    [
        ([], False),
        (["supervised.weight=1"], True),
        (["supervised.weight=1", "supervised.schedule=constant"], False),
        (["unsupervised.contrast=0.1"], True),
        (["unsupervised.contrast=0.1", "contrast.hard_first=10"], False),
        (["distillation.contrast=0.1"], True),
        (["distillation.contrast=0.1", "contrast.hard_first=10"], False),
        (["optimiser.decay=0.5"], True),
        (["critic.r1_gamma=4"], False),
        (["critic={r1_gamma: 4, r1_last: 1}"], True),
    ],
)
def test_moving_weights_tie_a_translators_run_to_its_length(overrides: list[str], follows: bool) -> None:
    fixed = ["optimiser.decay=0", "unsupervised.contrast=0", "distillation.contrast=0", "supervised.weight=0"]
    assert load_recipe("nijigan", [*fixed, *overrides]).follows_length == follows
