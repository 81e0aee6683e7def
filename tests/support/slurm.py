"""A real Slurm for tests: slurmctld, slurmd and munged of their own in a folder of their own, for one user, without systemd.

Where it is quicker than a real cluster, and where it is not the same (docs/slurm-notes.md has what was tried out, signals first):
- A requeued job waits for the lifetime of a credential, cred_expire, and one second more: 121 s as Slurm comes, 6 s here, the least that it
  takes.  `scontrol update JobId=ID StartTime=now` ends the wait.
- KILL follows TERM after KillWait: 30 s as Slurm comes, 5 s here.
- Most clusters track processes by cgroups, which would reach out of the folder.  There, TERM goes to the batch script alone, here to its
  children too; `scancel --batch --signal=TERM ID` sends it as they would.
- Time limits are looked at every half minute, so a test of --signal takes a minute; `scancel --batch --signal=USR1 ID` stands in.
"""
import contextlib
import pwd
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

# Daemons lie where a user's PATH does not lead on Debian.
PATH = f"{os.environ['PATH']}:/usr/sbin"
FINAL = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT"}

# config_overrides: 8 CPUs whatever the machine has, so that 8 jobs of one run at once.
# proctrack/pgid: as cgroups do, and linuxproc does not, it kills what is left of a job whose batch script has ended.
# MinJobAge: finished jobs can be asked about.
# gpu: four that are /dev/null, so that --gres=gpu:1 is granted and sets CUDA_VISIBLE_DEVICES.
CONFIG = """\
ClusterName=qroar
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=5
MinJobAge=3600
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=65536 Gres=gpu:4
PartitionName=main Nodes=ALL Default=YES PriorityTier=1
PartitionName=urgent Nodes=ALL PriorityTier=2
"""


def missing_tools():
    return [tool for tool in ("munged", "sbatch", "slurmctld", "slurmd") if not shutil.which(tool, path=PATH)]


def free_ports(count):
    """Below those that the system gives to outgoing connections, which could take them before we do."""
    ports = []
    for port in random.SystemRandom().sample(range(20000, 32768), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            ports.append(port)
    return ports[:count]


class Cluster:
    """One node, the partitions main and urgent (whose jobs take the place of main's), in a folder that keeps configuration, state and logs."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.config = self.folder / "slurm.conf"
        # Without what an outer Slurm says, should the tests be a job themselves.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        self.environment = kept | {"SLURM_CONF": str(self.config), "PATH": PATH}
        self.daemons = []

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self._configure()
        # --force: munged wants folders that everyone may enter.
        files = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "pid", "seed")]
        self._start("munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket", *files)
        self.until(lambda: (self.folder / "munge.socket").exists(), 10, "munged")
        self._start("slurmctld", "-D")
        self._start("slurmd", "-D")
        self.until(lambda: self.run("sinfo", "-h", "-o", "%T").stdout.strip() == "idle", 30, "the node")

    def _configure(self):
        host, user = socket.gethostname().split(".")[0], pwd.getpwuid(os.getuid()).pw_name
        self.config.write_text(CONFIG.format(folder=self.folder, host=host, user=user, ports=free_ports(2)), encoding="utf-8")
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        for gpu in range(4):
            (self.folder / f"gpu{gpu}").symlink_to("/dev/null")
        (self.folder / "gres.conf").write_text(f"Name=gpu File={self.folder}/gpu[0-3]\n", encoding="utf-8")
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(64))
        key.chmod(0o600)

    def _start(self, *command):
        """A daemon that ends with us, even if we are killed."""
        with open(self.folder / f"{command[0]}.log", "w", encoding="utf-8") as output:
            self.daemons.append(subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], env=self.environment, stdin=subprocess.DEVNULL,
                                                 stdout=output, stderr=subprocess.STDOUT))

    def stop(self):
        """Kills daemons, steps and jobs.  They carry our SLURM_CONF, which Slurm hands on to jobs even under --export=NONE."""
        while processes := self.processes():
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.02)
        for daemon in self.daemons:
            daemon.wait()

    def processes(self):
        ours = []
        for file in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):  # ended, or another user's
                if f"SLURM_CONF={self.config}".encode() in file.read_bytes().split(b"\0"):
                    ours.append(int(file.parent.name))
        return ours

    def run(self, *command, **options):
        """The finished process of a command that talks to this cluster."""
        options = {"env": self.environment, "capture_output": True, "text": True, "timeout": 60} | options
        return subprocess.run([str(word) for word in command], check=False, **options)

    def submit(self, *arguments, **options):
        """The number of the job that sbatch made."""
        process = self.run("sbatch", "--parsable", *arguments, **options)
        assert process.returncode == 0, process.stderr
        return process.stdout.strip()

    def queue(self, job=None):
        """{number, or ARRAY_TASK: state} of all jobs ever submitted, or of one and its tasks."""
        process = self.run("squeue", "-h", "-r", "-t", "all", "-o", "%i %T", *(["-j", job] if job else []))
        assert process.returncode == 0, process.stderr
        return dict(line.split() for line in process.stdout.splitlines())

    def show(self, job):
        """The fields of a job, or of one task, as scontrol shows them."""
        process = self.run("scontrol", "show", "job", "-o", job)
        assert process.returncode == 0, process.stderr
        return dict(word.split("=", 1) for word in process.stdout.split() if "=" in word)

    def wait(self, job, timeout=60):
        """The states of a job and its tasks once none of them changes any more."""
        self.until(lambda: set(self.queue(job).values()) <= FINAL, timeout, f"job {job}")
        return self.queue(job)

    def until(self, condition, timeout, what):
        end = time.monotonic() + timeout
        while not condition():
            ended = [daemon.args[3] for daemon in self.daemons if daemon.poll() is not None]
            assert not ended and time.monotonic() < end, f"waiting for {what}, ended: {ended}; {self._state()}"
            time.sleep(0.1)

    def _state(self):
        tails = [f"{file.name}:\n" + "\n".join(file.read_text(errors="replace").splitlines()[-15:]) for file in self.folder.glob("*.log")]
        return "\n".join([self.run("squeue", "-r", "-t", "all").stdout, *tails])
