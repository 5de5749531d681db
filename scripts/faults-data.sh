# The trials of scripts/faults.sh that hand in data: images, archives, arrays, files of absurd sizes.
# shellcheck shell=bash disable=SC2034,SC2154

# Six small pictures of two classes, in both splits: PNG, 8×8.
pictures() {
  local red='iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR42mM4ISKCFTEMLQkAnyE8ARP7+HkAAAAASUVORK5CYII='
  local blue='iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR42mMQETmBFTEMLQkARSE8AUc+BbYAAAAASUVORK5CYII='
  local split i
  for split in train val; do
    mkdir -p "$1/$split/red" "$1/$split/blue"
    for i in 1 2 3; do
      base64 -d <<<"$red" >"$1/$split/red/$i.png"
      base64 -d <<<"$blue" >"$1/$split/blue/$i.png"
    done
  done
}

trial_image() {
  pictures "$here/images"
  damage_one_of "$here/images"
  draw 3
  case "$drawn" in
    0) mv "$here/images/train/red" "$here/images/train/"$'r\xe9d' ;;
    1) mkdir "$here/images/train/red/deep" && ln -s .. "$here/images/train/red/deep/round" ;;
  esac
  local line=(train --dataset image-folder --data "$here/images" --image-size 32 --network tiny --depth 2 --planes 2 --batch 4 --epochs 1 --quiet)
  draw 2
  ((drawn == 0)) || line+=(--skip-corrupt)
  run "${line[@]}" --out "$here/run"
  case "$rc" in
    0) ;;
    1) one_line "$here/images" ;;
    *) fails "exit code $rc" ;;
  esac
}

trial_data() {
  local source=/usr/share/datasets/fashion-mnist
  mkdir "$here/data"
  if [[ -d "$source" ]]; then
    cp "$source"/*.gz "$here/data"
    damage_one_of "$here/data"
    run train --data "$here/data" --limit 100 --depth 2 --planes 2 --epochs 1 --quiet --out "$here/run"
    case "$rc" in
      0) # a byte of a header that says nothing of the images
        "$program" train --limit 100 --depth 2 --planes 2 --epochs 1 --quiet --out "$here/whole" >/dev/null
        diff <(results "$here/whole") <(results "$here/run") >"$here/diff" || fails 'damaged images were taken'
        ;;
      1) one_line "$(basename "$damaged")" ;;
      *) fails "exit code $rc" ;;
    esac
  fi
}

# Runs the program and looks at how much memory it took at most, in MiB.
run_watched() {
  local most=0 now
  start "$@"
  while now="$(awk '/^VmHWM/{print int($2 / 1024)}' "/proc/$pid/status" 2>/dev/null)" && [[ -n "$now" ]]; do
    most=$now
    sleep 0.05
  done
  wait "$pid"
  rc=$?
  ((most < 1500)) || fails "took $most MiB"
}

trial_size() {
  pick checkpoint point npy picture archive names
  case "$picked" in
    checkpoint | point)
      local name=checkpoint.bin
      undisturbed train
      if [[ "$picked" == point ]]; then
        undisturbed points
        name="points/$(find "$base/points" -name '*.json' -printf '%f\n' | head -n 1)"
      fi
      cp -r "$base" "$here/run"
      draw 2
      ((drawn == 0)) && : >"$here/run/$name"
      truncate -s 20G "$here/run/$name"
      run_watched "${words[@]}" --out "$here/run" --resume
      [[ "$rc" == 1 ]] || fails "exit code $rc"
      one_line "$name"
      ;;
    npy)
      pick '(3,)' '(3)' '()' '(3 4)' '(4294967296, 4294967296)' '(-1, 3, 8, 8)' '(2, 3, 8, 8)' '(99999999999999999999,)' '(1000000, 3, 1000, 1000)'
      printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': $picked, }" >"$here/images.npy"
      draw 2
      ((drawn == 0)) || truncate -s 8G "$here/images.npy"
      run_watched discretization --npy "$here/images.npy" --planes 2 --max-depth 4 --quiet --out "$here/run"
      [[ "$rc" == 1 || "$rc" == 2 ]] || fails "exit code $rc"
      one_line "$here/images.npy"
      ;;
    picture)
      pictures "$here/images"
      truncate -s 20G "$here/images/train/red/2.png"
      run_watched train --dataset image-folder --data "$here/images" --image-size 32 --depth 2 --planes 2 --epochs 1 --quiet --out "$here/run"
      [[ "$rc" == 1 ]] || fails "exit code $rc"
      one_line "$here/images"
      ;;
    archive | names)
      local member=data_batch_1.bin
      [[ "$picked" == archive ]] || member=batches.meta.txt
      mkdir "$here/cifar"
      truncate -s 2G "$here/cifar/$member"
      tar -C "$here" -cf - "cifar/$member" | gzip -1 >"$here/cifar.tar.gz"
      rm -r "$here/cifar"
      run_watched train --dataset cifar10 --data "$here/cifar.tar.gz" --depth 2 --quiet --out "$here/run"
      [[ "$rc" == 1 ]] || fails "exit code $rc"
      one_line "$here/cifar.tar.gz"
      ;;
  esac
}
