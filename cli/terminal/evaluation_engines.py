"""The engine that the options of `simko eval` ask for, made where it is needed and closed in any case."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from ...trainers.evaluation.engines.base import Engine
from ...trainers.evaluation.policies import Policy


class Engines:
    """Makes the engine of each policy.

    Args:
        options: of `simko eval`.

    Attributes:
        name: of the engine: transformers, server or vllm.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self.name = options.engine or ("server" if options.server else "transformers")
        self._server: Any = None

    def connect(self) -> str:
        """See that the server is there; returns the name that it serves the model under.

        Raises:
            ServerUnusable: it is not, is slow, or serves another model.
        """
        from ...trainers.evaluation.engines.server import ServerEngine

        self._server = ServerEngine([self._options.server], model=self._options.model, service=self._service())
        return str(self._server.served)

    def tokenizer(self, policy: Policy) -> Any:
        """The tokenizer of a policy; None where only the server has it.

        Raises:
            ModelNotFound, TokenizerMissing: there is none that can be read.
        """
        from ...trainers.models.loading import load_tokenizer

        where = self._options.tokenizer or policy.where
        tokenizer = None if where is None else load_tokenizer(where)
        if self._server is not None:
            self._server.tokenizer = tokenizer
        return tokenizer

    def engine(self, policy: Policy) -> Engine:
        """The engine that draws from a policy.

        Raises:
            ModelNotFound, ModelUnreadable, ServerUnusable: it cannot be had.
        """
        if self._server is not None:
            return self._server
        assert policy.where is not None
        if self.name == "vllm":
            from ...trainers.evaluation.engines.vllm import VLLMEngine

            options = self._options
            return VLLMEngine(
                policy.where,
                tokenizer=self.tokenizer(policy),
                python=options.vllm_python,
                arguments=["--dtype", options.dtype, *shlex.split(options.vllm_args)],
                log_folder=policy.run_dir,
                service=self._service(),
            )
        from ...trainers.evaluation.engines.transformers import TransformersEngine

        return TransformersEngine.load(policy.where, dtype=self._options.dtype, batch_tokens=self._options.batch_tokens)

    def close(self) -> None:
        """Close the connection, where there is one."""
        if self._server is not None:
            self._server.close()

    def _service(self) -> Any:
        from ...trainers.evaluation.engines.server import Service

        options = self._options
        return Service(
            per_request=options.per_request,
            concurrency=options.concurrency,
            timeout=options.timeout,
            api_key_variable=options.api_key_variable,
            seeded=not options.unseeded,
        )
