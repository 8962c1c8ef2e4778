# shellcheck shell=bash disable=SC2034
# Where jobs run: local, slurm or sge; ./run.sh --cmd-backend overrides this line.
cmd_backend=${cmd_backend:-local}

# Runners in Kaldi's calling convention: $cmd [options] [JOB=1:N] LOG COMMAND...
# train_cmd runs CPU jobs (features, voice activity), cuda_cmd the training. Memory is that of one job; partitions,
# accounts and the names of resources are in conf/slurm.conf and conf/queue.conf. Your own Kaldi run.pl, slurm.pl
# or queue.pl can be named here, with options after it, and has Kaldi's ways: run.pl gives every job the same GPUs,
# queue.pl counts memory by slot, and slurm.pl may leave its jobs in the queue when it is killed.
case $cmd_backend in
  local)
    train_cmd="steps/parallel/run.py"
    cuda_cmd="steps/parallel/run.py"
    ;;
  slurm)
    train_cmd="steps/parallel/slurm.py --mem 1G"
    cuda_cmd="steps/parallel/slurm.py --mem 3G"
    ;;
  sge)
    train_cmd="steps/parallel/sge.py --mem 1G"
    cuda_cmd="steps/parallel/sge.py --mem 3G"
    ;;
  *)
    echo "cmd.sh: no backend '$cmd_backend'; expected local, slurm or sge" >&2
    exit 1
    ;;
esac
