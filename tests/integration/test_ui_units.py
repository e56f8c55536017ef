"""The frontend's own tests, with the Node and the packages that its image is built with."""

from __future__ import annotations

import re
from pathlib import Path

from ppmkit.config.environment import Images
from ppmkit.images.bases import ensure_bases
from ppmkit.local.engine import build_secrets, local_docker

UI = Path(__file__).parents[2] / "app" / "ui"


def test_the_page_does_what_its_tests_say() -> None:
    docker = local_docker()
    bases = ensure_bases(Images(bases="local"), docker, print)
    image = "ppm-test/frontend:build"
    arguments = {"NODE_IMAGE": bases["node"], "NGINX_IMAGE": bases["nginx"]}
    docker.buildx.build(
        UI, build_args=arguments, target="build", secrets=build_secrets(), tags=[image], load=True, progress=False
    )

    said = str(docker.run(image, ["npm", "test"], envs={"NO_COLOR": "1"}, networks=["none"], remove=True))

    assert re.search(r"Tests +[1-9]\d* passed \(", said), said
