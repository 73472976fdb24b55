"""A plugin for verl: its FSDP engine, trained by an objective and seen by the probe, without a fork.

verl loads `simko.trainers.verl.plugin` wherever verl is imported (entry-point group `verl.plugins`). It does nothing
until a run asks for it (`VERL_ENGINE_VENDOR=simko`), as this command does:

    python -m simko.trainers.verl --run runs/mine --method simko -- data.train_files=… actor_rollout_ref.model.path=…
"""
