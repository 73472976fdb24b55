"""Training: objectives, the TRL engine adapter, tasks and graders, evaluation, policies, options and studies."""
