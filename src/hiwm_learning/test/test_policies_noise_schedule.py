"""The noise schedule is that of diffusers."""

import pytest
import torch

from hiwm_learning.policies.noise_schedule import NoiseSchedule

LOWER, UPPER = torch.tensor(-1.0), torch.tensor(1.0)


@pytest.mark.parametrize(("levels", "steps"), [(96, 8), (100, 10), (50, 5), (100, 1)])
def test_noise_velocity_and_samples_agree_with_diffusers(levels: int, steps: int) -> None:
    ddim = pytest.importorskip("diffusers.schedulers.scheduling_ddim")
    theirs = ddim.DDIMScheduler(
        num_train_timesteps=levels, beta_schedule="squaredcos_cap_v2", clip_sample=True,
        prediction_type="v_prediction", timestep_spacing="trailing", set_alpha_to_one=True,
    )
    ours = NoiseSchedule(levels)
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand((levels, 6), generator=generator) * 2 - 1
    noise = torch.randn((levels, 6), generator=generator)
    level = torch.arange(levels)
    torch.testing.assert_close(
        ours.add_noise(clean, noise, level), theirs.add_noise(clean, noise, level),
        rtol=1e-4, atol=1e-5,
    )
    torch.testing.assert_close(
        ours.velocity(clean, noise, level), theirs.get_velocity(clean, noise, level),
        rtol=1e-4, atol=1e-5,
    )

    def network(noisy: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        return torch.tanh(noisy * 0.7 + at[:, None] / levels)

    theirs.set_timesteps(steps)
    expected = noise
    for timestep in theirs.timesteps:
        output = network(expected, timestep.expand(len(expected)))
        expected = theirs.step(
            output, timestep, expected, use_clipped_model_output=True
        ).prev_sample
    sampled = ours.sample(network, noise, steps, LOWER, UPPER)
    torch.testing.assert_close(sampled, expected, rtol=1e-4, atol=1e-4)


def test_a_perfect_network_gives_the_clean_sample() -> None:
    schedule = NoiseSchedule(100)
    clean = torch.tensor([[0.3, -0.8, 0.0]])

    def network(noisy: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        signal = schedule.signal[at][:, None]
        noise = (noisy - signal.sqrt() * clean) / (1 - signal).sqrt()
        return schedule.velocity(clean, noise, at)

    noise = torch.randn((1, 3), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        schedule.sample(network, noise, 8, LOWER, UPPER), clean, rtol=1e-4, atol=1e-4
    )
