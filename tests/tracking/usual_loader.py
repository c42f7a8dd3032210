"""Prints all scalars that TensorBoard's usual loader, a process in Rust, finds in a folder, as JSON."""

from __future__ import annotations

import json
import sys

from tensorboard import context
from tensorboard.data import server_ingester
from tensorboard.util import grpc_util

MANY = 10**6


def main(folder: str) -> None:
    ingester = server_ingester.SubprocessServerDataIngester(
        server_binary=server_ingester.get_server_binary(),
        logdir=folder,
        reload_interval=1,
        channel_creds_type=grpc_util.ChannelCredsType.LOCAL,
        samples_per_plugin={"scalars": MANY},
    )
    ingester.start()  # it ends with this process
    found = ingester.data_provider.read_scalars(
        context.RequestContext(), experiment_id="", plugin_name="scalars", downsample=MANY
    )
    print(
        json.dumps(
            {
                run.rpartition("_")[2]: {tag: [(p.step, p.value) for p in points] for tag, points in tags.items()}
                for run, tags in found.items()
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
