# Sourced: checkpoint.bin as bash reads it (docs/architecture.md, "Checkpoints").
# shellcheck shell=bash

# The values of all tensors, which lie between the header and the digest.
tensors() { # FILE
  local length
  length="$(od -An -tu8 -j 25 -N 8 "$1" | tr -d ' ')"
  tail -c +"$((25 + 8 + length + 1))" "$1" | head -c -32
}

# How far the training has come.
place() { # FILE
  local begun epoch of step
  [[ -e "$1" ]] || { echo 'before the first checkpoint'; return; }
  begun="$(grep -a -o -m 1 '"Begun":{"Epoch":[0-9]*,"BatchCount":[0-9]*,"Batches":[0-9]*,"Steps":[0-9]*' "$1" | tr -dc '0-9,')"
  if [[ -z "$begun" ]]; then
    echo 'between two epochs'
  else
    IFS=, read -r epoch of _ step <<<"$begun"
    echo "in epoch $epoch after step $step of $of"
  fi
}
