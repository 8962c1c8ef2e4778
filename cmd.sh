# shellcheck shell=bash disable=SC2034
# Job runners, in Kaldi's calling convention: $cmd [options] [JOB=1:N] LOG COMMAND...
# Your own Kaldi run.pl, slurm.pl or queue.pl can stand here, with its options behind it.

train_cmd="steps/parallel/run.py" # CPU jobs: features, voice activity
cuda_cmd="steps/parallel/run.py"  # training jobs; they ask for GPUs when run.sh gets --ngpu
