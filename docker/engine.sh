#!/bin/sh
# What the make targets ask of a container engine: docker, podman, or buildah where there is only that.
#
#   ENGINE=docker docker/engine.sh run IMAGE COMMAND…    as a Job runs it: no capabilities, no network, a read-only root
#   ENGINE=docker docker/engine.sh save IMAGE FILE       as a docker-archive
set -eu
engine=${ENGINE:-docker}
verb=$1 image=$2
shift 2

# buildah has no read-only root: the user's permissions stand for it.
case $verb:$engine in
run:*buildah*)
    container=$($engine from --pull-never "$image")
    trap '$engine rm "$container" >/dev/null' EXIT
    $engine run --isolation chroot "$container" -- "$@"
    ;;
run:*)
    program=$1
    shift
    exec $engine run --rm --interactive --read-only --tmpfs /tmp:exec --cap-drop ALL \
        --security-opt no-new-privileges --network none --entrypoint "$program" "$image" "$@"
    ;;
save:*buildah*) exec $engine push --quiet "$image" "docker-archive:$1:$image" ;;
save:*) exec $engine save --output "$1" "$image" ;;
esac
