//! A real Slurm cluster of three nodes on loopback, for one test: started in a folder of its own,
//! stopped by pid.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Lack, skip};

/// A running cluster.
pub struct Cluster {
    /// Its folder.
    pub folder: PathBuf,
    controller: Option<Child>,
    nodes: BTreeMap<usize, Child>,
}

/// Nodes of a cluster.
const NODES: usize = 3;

impl Cluster {
    /// Starts a cluster in `folder`; `None`, and a line that says why, where that cannot be done.
    pub fn start(folder: &Path) -> Option<Self> {
        let there = |program: &str| {
            ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
                .iter()
                .any(|at| Path::new(at).join(program).exists())
        };
        if let Some(missing) = ["slurmctld", "slurmd", "sbatch", "munged"].iter().find(|program| !there(program)) {
            skip(Lack::Program, &format!("no Slurm: {missing} is not installed (./setup.sh --tests)"));
            return None;
        }
        if !fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
            skip(Lack::Root, "a Slurm cluster can only be started by root");
            return None;
        }
        munge();
        fs::create_dir_all(folder).expect("a folder");
        let folder = folder.canonicalize().expect("a folder");
        for name in ["state", "spool/n1", "spool/n2", "spool/n3", "run", "log"] {
            fs::create_dir_all(folder.join(name)).expect("a folder");
        }
        fs::write(folder.join("slurm.conf"), configuration(&folder)).expect("a configuration");
        write_prolog(&folder);
        let mut cluster = Self { folder, controller: None, nodes: BTreeMap::new() };
        cluster.start_controller(true);
        (1..=NODES).for_each(|node| cluster.start_node(node));
        let all_idle =
            |cluster: &Self| cluster.ask("sinfo", &["-h", "-N", "-o", "%T"]).matches("idle").count() == NODES;
        cluster.wait("all nodes are idle", Duration::from_secs(90), all_idle);
        Some(cluster)
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("slurm.conf")
    }

    fn daemon(&self, program: &str, args: &[&str], log: &str) -> Child {
        let log = File::options().create(true).append(true).open(self.folder.join("log").join(log)).expect("a log");
        let mut command = Command::new(program);
        command.arg("-D").arg("-f").arg(self.configuration()).args(args);
        command.env("SLURM_CONF", self.configuration()).env("PATH", path()).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"))
    }

    /// Starts the controller; not `fresh`: with what it knew before.
    pub fn start_controller(&mut self, fresh: bool) {
        self.controller = Some(self.daemon("slurmctld", if fresh { &["-c"] } else { &[] }, "slurmctld.out"));
    }

    /// Kills the controller at once.
    pub fn kill_controller(&mut self) {
        let mut controller = self.controller.take().expect("it runs");
        controller.kill().expect("SIGKILL");
        controller.wait().expect("it is dead");
    }

    /// Starts the daemon of a node.
    pub fn start_node(&mut self, node: usize) {
        let child = self.daemon("slurmd", &["-c", "-N", &format!("n{node}")], &format!("slurmd-n{node}.out"));
        self.nodes.insert(node, child);
    }

    /// Kills the daemon of a node at once, and nothing that runs there.
    pub fn kill_node_daemon(&mut self, node: usize) {
        let mut child = self.nodes.remove(&node).expect("it runs");
        child.kill().expect("SIGKILL");
        child.wait().expect("it is dead");
    }

    /// Kills the daemon of a node and everything that runs there, as a power cut would.
    pub fn kill_node(&mut self, node: usize) {
        self.kill_node_daemon(node);
        let name = format!("SLURMD_NODENAME=n{node}");
        for process in self.processes() {
            if process.environment.split('\0').any(|variable| variable == name)
                || process.command.contains("slurmstepd") && process.command.contains(&name)
            {
                kill(process.id, 9);
            }
        }
    }

    /// Lets the next launch on a node fail before the job's script starts.
    pub fn fail_next_launch(&self, node: usize) {
        fs::write(self.folder.join(format!("no-launch-n{node}")), "").expect("a file");
    }

    /// Lets nodes work again that Slurm has taken out of service.
    pub fn resume_drained(&self) {
        let states = self.ask("sinfo", &["-h", "-N", "-o", "%N %T"]);
        for (node, _) in
            states.lines().filter_map(|line| line.split_once(' ')).filter(|(_, state)| state.contains("drain"))
        {
            self.ask("scontrol", &["update", &format!("nodename={node}"), "state=resume"]);
        }
    }

    /// What a command of Slurm's prints.
    pub fn ask(&self, program: &str, args: &[&str]) -> String {
        let output = self.command(Path::new(program)).args(args).output().expect("it starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A command that talks to this cluster.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("SLURM_CONF", self.configuration());
        command
    }

    /// Waits for something, but not for ever.
    pub fn wait(&self, what: &str, most: Duration, happens: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !happens(self) {
            assert!(begin.elapsed() < most, "{what}: not within {most:?}\n{}", self.story());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The ends of all logs, for whoever has to find out.
    pub fn story(&self) -> String {
        let mut story = self.ask("squeue", &[]) + &self.ask("sinfo", &["-R"]);
        for entry in fs::read_dir(self.folder.join("log")).expect("logs").flatten() {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let ends = lines[lines.len().saturating_sub(15)..].join("\n");
            let _ = writeln!(story, "== {}\n{ends}", entry.path().display());
        }
        story
    }

    /// The processes that belong to this cluster's jobs.
    pub fn processes(&self) -> Vec<Process> {
        let mine = format!("SLURM_CONF={}", self.configuration().display());
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let read = |name: &str| {
                fs::read(entry.path().join(name)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            };
            let (Ok(environment), Ok(command)) = (read("environ"), read("cmdline")) else { continue };
            if id != std::process::id() && environment.split('\0').any(|variable| variable == mine) {
                found.push(Process { id, environment, command: command.replace('\0', " ") });
            }
        }
        found
    }

    /// The processes of lvd that run tasks.
    pub fn tasks(&self) -> Vec<Process> {
        let runs = |process: &Process| process.command.contains(" task ") && process.command.contains("lvd");
        self.processes().into_iter().filter(runs).collect()
    }
}

/// A process of a job.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// Its environment, separated by zeros.
    pub environment: String,
    /// Its command line.
    pub command: String,
}

impl Process {
    /// A variable of its environment.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.split('\0').find_map(|variable| variable.strip_prefix(name)?.strip_prefix('='))
    }
}

/// Sends a signal.
pub fn kill(process: u32, signal: u32) {
    let _ = Command::new("kill").args([format!("-{signal}"), process.to_string()]).stderr(Stdio::null()).status();
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let children = self.nodes.values_mut().chain(self.controller.as_mut());
        for child in children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for process in self.processes() {
            kill(process.id, 9);
        }
    }
}

fn path() -> String {
    format!("/usr/sbin:/sbin:{}", std::env::var("PATH").unwrap_or_default())
}

/// Slurm's daemons trust one another by munge, of which there is one a machine.
fn munge() {
    let works = || {
        Command::new("munge")
            .arg("-n")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if works() {
        return;
    }
    let run = |program: &str, args: &[&str]| {
        let _ = Command::new(program).args(args).env("PATH", path()).status();
    };
    run("install", &["-d", "-o", "munge", "-g", "munge", "-m", "755", "/run/munge"]);
    run("runuser", &["-u", "munge", "--", "/usr/sbin/munged"]);
    let begin = Instant::now();
    while !works() {
        assert!(begin.elapsed() < Duration::from_secs(30), "munge does not start");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What runs on a node before each job: it fails once where a file asks for it.
fn write_prolog(folder: &Path) {
    let text = format!("#!/bin/sh\n! rm {}/no-launch-$SLURMD_NODENAME 2>/dev/null\n", folder.display());
    let path = folder.join("prolog");
    fs::write(&path, text).expect("a script");
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it may run");
}

fn configuration(folder: &Path) -> String {
    // Held together until all are known, so that they differ.
    let sockets: Vec<TcpListener> = (0..=NODES).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let ports: Vec<u16> = sockets.iter().map(|socket| socket.local_addr().expect("an address").port()).collect();
    let at = folder.display();
    let mut text = format!(
        "ClusterName=test\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort={}\nAuthType=auth/munge\nAuthInfo=cred_expire=5\n\
         CommunicationParameters=NoCtldInAddrAny,NoInAddrAny\nCredType=cred/munge\nSlurmUser=root\nSlurmdUser=root\n\
         StateSaveLocation={at}/state\nSlurmdSpoolDir={at}/spool/%n\nSlurmctldPidFile={at}/run/slurmctld.pid\n\
         SlurmdPidFile={at}/run/slurmd-%n.pid\nSlurmctldLogFile={at}/log/slurmctld.log\nSlurmdLogFile={at}/log/slurmd-%n.log\n\
         ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/none\n\
         AccountingStorageType=accounting_storage/none\nJobCompType=jobcomp/filetxt\nJobCompLoc={at}/log/jobcomp.log\n\
         SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nSchedulerParameters=batch_sched_delay=1,bf_interval=2\n\
         MaxArraySize=1001\nReturnToService=2\nSlurmdTimeout=10\nSlurmctldTimeout=10\nKillWait=3\nMinJobAge=600\nJobRequeue=1\n\
         MailProg=/bin/true\nProlog={at}/prolog\nMpiDefault=none\nSlurmdParameters=config_overrides\nDependencyParameters=kill_invalid_depend\n",
        ports[0]
    );
    for (node, port) in ports.iter().enumerate().skip(1) {
        let _ = writeln!(
            text,
            "NodeName=n{node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000 State=UNKNOWN"
        );
    }
    text + "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"
}
