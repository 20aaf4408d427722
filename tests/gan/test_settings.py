"""What a run says of its settings: nothing that was derived is left out, and all of it follows what was given."""

from foxgan.gan.config import ResolvedConfig, TrainConfig
from foxgan.gan.settings import chosen


def told(config: ResolvedConfig) -> dict[str, str]:
    training, networks = chosen(config, "cpu")
    parts = [part for line in (training, networks) for part in line.split(": ", 1)[1].split(", ")]
    return dict(part.split(" ", 1) for part in parts if " " in part)


def test_every_value_that_foxgan_chose_is_told():
    config = TrainConfig().resolved(128, 128)
    derived = {n for n, field in TrainConfig.model_fields.items() if field.default is None} - {
        "subset",
        *TrainConfig.machine,
    }
    assert derived | {"precision"} == told(config).keys()
    assert all(len(line) < 300 for line in chosen(config, "cpu"))


def test_the_published_heuristic_as_it_is_told():
    assert chosen(TrainConfig().resolved(256, 256), "cuda") == [
        "cfg auto on cuda: kimg 25000, batch 16, batch_gpu 16, g_lr 0.0025, d_lr 0.0025, gamma 0.8192, pl_weight 2, "
        "style_mixing 0.9, ema_kimg 5, ema_rampup 0.05, p 0, ada_kimg 500, labels no, grid_columns 7, grid_rows 4",
        "networks: 256x256x3, precision fp32, z_dim 512, w_dim 512, mapping_layers 2, channel_base 16384, channel_max 512, "
        "use_noise yes, mbstd_group_size 4",
    ]


def test_another_batch_derives_again_what_hangs_on_it():
    before, after = told(TrainConfig().resolved(128, 128)), told(TrainConfig(batch=6).resolved(128, 128))
    changed = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
    assert changed == {
        "batch": ("32", "6"),
        "batch_gpu": ("32", "6"),
        "gamma": ("0.1024", "0.546133"),
        "ema_kimg": ("10", "1.875"),
        "mbstd_group_size": ("4", "3"),
    }


def test_another_resolution_derives_again_what_hangs_on_it():
    small, large = told(TrainConfig().resolved(64, 64)), told(TrainConfig().resolved(512, 512))
    changed = {name for name in small if small[name] != large[name]}
    assert changed == {
        *("batch", "batch_gpu", "gamma", "ema_kimg", "channel_base"),
        *("grid_columns", "grid_rows"),
    }
    assert (large["gamma"], large["batch"], large["channel_base"]) == ("6.5536", "8", "32768")


def test_a_named_base_keeps_its_settings_for_its_own_batch():
    values = told(TrainConfig(cfg="paper256", batch=12).resolved(128, 128))
    assert (values["gamma"], values["ema_kimg"], values["batch_gpu"]) == ("1.33333", "3.75", "6")
    assert values["mbstd_group_size"] == "6"


def test_settings_without_effect_are_left_out():
    assert "ada_kimg" not in told(TrainConfig(aug="fixed").resolved(64, 64))
    assert not {"p", "ada_kimg"} & told(TrainConfig(aug="noaug").resolved(64, 64)).keys()


def test_mixed_precision_is_told_as_what_it_became():
    assert told(TrainConfig().resolved(64, 64, prefer_mixed=True))["precision"] == "mixed"
