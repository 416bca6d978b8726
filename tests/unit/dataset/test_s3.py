"""Photos under an `s3://` prefix and a package in a bucket, on a real S3 server."""

import pytest

from runner.dataset import PackageOptions, build_package, inspect_photos, load_package, plan_package
from runner.errors import InputMissing
from runner.storage import open_store


@pytest.fixture
def opened(bucket):
    return lambda path: open_store(f"{bucket.url}/{path}", endpoint=bucket.endpoint, region="us-east-1")


def test_photos_in_a_bucket_make_the_same_package_as_in_a_folder(folder, run_store, opened, tmp_path, make):
    local = folder.photos(3).package(run_store)
    photos, store = opened("photos/teddy/"), opened("runs")
    for seed in range(3):
        photos.put(f"{seed}.jpg", make.jpeg(seed))
    opened("photos/teddy-2").put("9.jpg", make.jpeg(9))  # a neighbour whose name begins alike
    plan = plan_package(inspect_photos(photos, resolution=32).require(), PackageOptions(resolution=32))
    built = build_package(plan, photos, store)
    assert built.made
    assert built.manifest == local.manifest
    assert not build_package(plan, photos, store).made
    here, there = (
        load_package(one, plan.digest, tmp_path / name) for one, name in ((run_store, "a"), (store, "b"))
    )
    assert [image.path.read_bytes() for image in here.images] == [
        image.path.read_bytes() for image in there.images
    ]


def test_a_prefix_without_photos_and_a_bucket_that_is_not_there_are_named(opened, bucket):
    with pytest.raises(InputMissing) as empty:
        inspect_photos(opened("nothing/here/"), resolution=32)
    assert f"no photos in {bucket.url}/nothing/here: it is empty" in empty.value.message
    nowhere = open_store("s3://no-such-bucket/teddy", endpoint=bucket.endpoint, region="us-east-1")
    with pytest.raises(InputMissing) as missing:
        inspect_photos(nowhere, resolution=32)
    assert "s3://no-such-bucket/teddy" in missing.value.message
    assert "Set instance_images" in missing.value.remedy
