//! Type `host-local`, as other people's plugins call it: by its name, with their own configuration.
//!
//! What the reference plugin (v1.9.1) answered to the same calls was looked at once, and is written down here.

use std::fs;

use anyhow::{Context, Result, ensure};
use lab::plugin::{Answer, Plugin};
use lab::{Lab, Node, programs};
use serde_json::{Value, json};

use super::tree;

/// The container's namespace need not be there: it is the caller's business.
const NOWHERE: &str = "/run/netns/nowhere";
const FILES: &str = "/run/their/networks";

struct Caller {
    node: Node,
    plugin: Plugin,
    conf: Value,
    args: String,
}

impl Caller {
    fn new(lab: &Lab, ipam: Value) -> Result<Self> {
        let mut ipam = ipam;
        ipam["type"] = "host-local".into();
        Ok(Self {
            node: lab.node("one").start()?,
            plugin: Plugin::new(programs()?.plugins.join("host-local")),
            conf: json!({"cniVersion": "1.1.0", "name": "theirs", "type": "macvlan", "master": "eth9", "ipam": ipam}),
            args: "IgnoreUnknown=1".into(),
        })
    }

    fn with(&self, key: &str, value: impl Into<Value>) -> Self {
        let mut conf = self.conf.clone();
        conf[key] = value.into();
        Self {
            conf,
            ..self.same()
        }
    }

    fn asking(&self, args: &str) -> Self {
        Self {
            args: args.into(),
            ..self.same()
        }
    }

    fn same(&self) -> Self {
        Self {
            node: self.node.clone(),
            plugin: self.plugin.clone(),
            conf: self.conf.clone(),
            args: self.args.clone(),
        }
    }

    fn call(&self, verb: &str, id: &str) -> Result<Answer> {
        let environment = [
            ("CNI_CONTAINERID", id.to_owned()),
            ("CNI_NETNS", NOWHERE.to_owned()),
            ("CNI_IFNAME", "eth0".to_owned()),
            ("CNI_ARGS", self.args.clone()),
        ];
        self.plugin.raw(
            &self.node,
            verb,
            &environment,
            self.conf.to_string().as_bytes(),
        )
    }

    fn add(&self, id: &str) -> Result<Vec<String>> {
        let told = self
            .call("ADD", id)?
            .ok()
            .with_context(|| format!("ADD of {id}"))?;
        let ips = told["ips"].as_array().into_iter().flatten();
        Ok(ips
            .filter_map(|ip| ip["address"].as_str().map(str::to_owned))
            .collect())
    }

    fn refused(&self, verb: &str, id: &str, code: u64) -> Result<String> {
        let answer = self.call(verb, id)?;
        ensure!(
            answer.error_code() == Some(code),
            "{verb} of {id}: {answer:?}"
        );
        Ok(answer.stdout)
    }

    fn files(&self) -> Result<Vec<(String, String)>> {
        let found = self
            .node
            .attempt(|| tree(std::path::Path::new(FILES)))?
            .into_iter();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let network = |name: &str| name.trim_start_matches("theirs/").to_owned();
        Ok(found
            .map(|(name, bytes)| (network(&name), text(bytes)))
            .collect())
    }

    fn ours(&self) -> Result<Vec<String>> {
        let found = self
            .node
            .attempt(|| tree(std::path::Path::new("/run/podwire")))?
            .into_keys();
        let held = |name: &String| name.contains("/leases/") || name.contains("/attachments/");
        Ok(found.filter(held).collect())
    }
}

/// Two sets: the first of two small ranges, the second of IPv6 with a gateway in its midst.
fn both() -> Value {
    json!({
        "ranges": [
            [{"subnet": "10.1.3.0/29", "rangeStart": "10.1.3.3", "rangeEnd": "10.1.3.4"}, {"subnet": "10.1.4.0/30"}],
            [{"subnet": "fd00::/64", "gateway": "fd00::5", "rangeStart": "fd00::4"}],
        ],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.1.3.9", "mtu": 1400, "priority": 5}],
    })
}

fn with_files(mut ipam: Value) -> Value {
    ipam["dataDir"] = FILES.into();
    ipam
}

#[test]
fn each_version_gets_its_own_form_without_interfaces() -> Result<()> {
    Lab::scenario(|lab| {
        let mut caller = Caller::new(lab, both())?;
        caller.conf["ipam"]["resolvConf"] = "/run/resolv".into();
        caller.node.attempt(|| {
            Ok(fs::write(
                "/run/resolv",
                "nameserver 9.9.9.9\nsearch a.b c.d\n",
            )?)
        })?;
        let dns = json!({"nameservers": ["9.9.9.9"], "search": ["a.b", "c.d"]});
        let old = caller.with("cniVersion", "0.2.0").call("ADD", "c0")?.ok()?;
        let four = json!([{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.1.3.9"}]);
        let expected = json!({"cniVersion": "0.2.0", "dns": dns,
            "ip4": {"ip": "10.1.3.3/29", "gateway": "10.1.3.1", "routes": four},
            "ip6": {"ip": "fd00::4/64", "gateway": "fd00::5", "routes": []}});
        ensure!(old == expected, "{old}");
        let new = caller.call("ADD", "c0")?.ok()?;
        let expected = json!({"cniVersion": "1.1.0", "dns": dns, "routes": both()["routes"],
            "ips": [{"address": "10.1.3.3/29", "gateway": "10.1.3.1"}, {"address": "fd00::4/64", "gateway": "fd00::5"}]});
        ensure!(new == expected, "the same attachment again: {new}");
        let middle = caller.with("cniVersion", "0.4.0").call("ADD", "c0")?.ok()?;
        ensure!(
            middle["ips"][1]["version"] == "6" && middle.get("interfaces").is_none(),
            "{middle}"
        );
        Ok(())
    })
}

/// The way of both: sets are walked through, a full one says who holds it, and DEL gives back.
fn walk(caller: &Caller) -> Result<()> {
    for (id, four, six) in [
        ("c0", "10.1.3.3/29", "fd00::4/64"),
        ("c1", "10.1.3.4/29", "fd00::6/64"),
        ("c2", "10.1.4.2/30", "fd00::7/64"),
    ] {
        ensure!(caller.add(id)? == [four, six], "{id}");
        caller.call("CHECK", id)?.ok()?;
        if caller.conf["ipam"].get("dataDir").is_some() {
            let again = caller.refused("ADD", id, 102)?;
            ensure!(
                again.contains("duplicate allocation is not allowed"),
                "{again}"
            );
        } else {
            ensure!(caller.add(id)? == [four, six], "{id} again");
        }
    }
    caller.refused("CHECK", "c9", 101)?;
    let full = caller.refused("ADD", "c3", 11)?;
    for part in [
        "10.1.3.0/29 (10.1.3.3 to 10.1.3.4) has 2 of 2 in use",
        "10.1.4.0/30",
        "has 1 of 1 in use",
        "the oldest holder is container c",
    ] {
        ensure!(full.contains(part), "{part:?} is not in {full}");
    }
    caller.refused("STATUS", "", 50)?;
    for _ in 0..2 {
        caller.call("DEL", "c1")?.ok()?;
    }
    caller.call("STATUS", "")?.ok()?;
    ensure!(
        caller.add("c4")? == ["10.1.3.4/29", "fd00::8/64"],
        "round robin"
    );
    // What is wrong by now must not keep a DEL from its work.
    let mut broken = caller.same();
    broken.conf["ipam"]["ranges"] = json!([]);
    broken.call("DEL", "c0")?.ok()?;
    for id in ["c2", "c4"] {
        caller.call("DEL", id)?.ok()?;
    }
    Ok(())
}

#[test]
fn sets_of_ranges_are_walked_and_given_back_in_our_own_state() -> Result<()> {
    Lab::scenario(|lab| {
        let caller = Caller::new(lab, both())?;
        walk(&caller)?;
        ensure!(caller.ours()?.is_empty(), "{:?}", caller.ours()?);
        Ok(())
    })
}

#[test]
fn with_a_data_dir_the_files_are_those_of_the_reference_plugin() -> Result<()> {
    Lab::scenario(|lab| {
        let caller = Caller::new(lab, with_files(both()))?;
        caller.add("c0")?;
        let there: Vec<(String, String)> = caller.files()?;
        let expected = [
            ("10.1.3.3", "c0\r\neth0"),
            ("fd00::4", "c0\r\neth0"),
            ("last_reserved_ip.0", "10.1.3.3"),
            ("last_reserved_ip.1", "fd00::4"),
            ("lock", ""),
        ];
        let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
        ensure!(there == expected, "{there:?}");
        caller.call("DEL", "c0")?.ok()?;
        caller.node.attempt(|| Ok(fs::remove_dir_all(FILES)?))?;
        walk(&caller)?;
        let left: Vec<String> = caller.files()?.into_iter().map(|(name, _)| name).collect();
        ensure!(
            left == ["last_reserved_ip.0", "last_reserved_ip.1", "lock"],
            "{left:?}"
        );
        ensure!(caller.ours()?.is_empty(), "{:?}", caller.ours()?);
        Ok(())
    })
}

#[test]
fn a_node_that_comes_from_the_reference_plugin_keeps_its_pods_addresses() -> Result<()> {
    Lab::scenario(|lab| {
        let subnet = json!({"subnet": "10.1.2.0/29"});
        let caller = Caller::new(lab, with_files(subnet))?;
        // Two pods of that plugin, the second from before files named the interface.
        caller.node.attempt(|| {
            fs::create_dir_all(format!("{FILES}/theirs"))?;
            for (name, text) in [
                ("10.1.2.2", "old1\r\neth0"),
                ("10.1.2.3", "old2"),
                ("last_reserved_ip.0", "10.1.2.3"),
                ("lock", ""),
            ] {
                fs::write(format!("{FILES}/theirs/{name}"), text)?;
            }
            Ok(())
        })?;
        ensure!(caller.add("new1")? == ["10.1.2.4/29"]);
        let has = caller.refused("ADD", "old1", 102)?;
        ensure!(has.contains("10.1.2.2 has been allocated to old1"), "{has}");
        caller.call("CHECK", "old2")?.ok()?;
        for id in ["old1", "old2", "new1"] {
            caller.call("DEL", id)?.ok()?;
        }
        let left: Vec<String> = caller.files()?.into_iter().map(|(name, _)| name).collect();
        ensure!(left == ["last_reserved_ip.0", "lock"], "{left:?}");
        Ok(())
    })
}

#[test]
fn without_a_data_dir_what_the_reference_plugin_gave_away_is_passed_over_and_freed() -> Result<()> {
    Lab::scenario(|lab| {
        let caller = Caller::new(lab, json!({"subnet": "10.1.2.0/29"}))?;
        let folder = "/var/lib/cni/networks/theirs";
        caller.node.attempt(|| {
            fs::create_dir_all(folder)?;
            for (name, text) in [("10.1.2.2", "old\r\neth0"), ("10.1.2.3", "dead\r\neth0")] {
                fs::write(format!("{folder}/{name}"), text)?;
            }
            // Long dead, for all that the file says.
            let dead = fs::File::options()
                .write(true)
                .open(format!("{folder}/10.1.2.3"))?;
            Ok(dead.set_modified(std::time::SystemTime::UNIX_EPOCH)?)
        })?;
        ensure!(
            caller.add("new")? == ["10.1.2.4/29"],
            "none that has a file"
        );
        for id in ["more", "last"] {
            caller.add(id)?;
        }
        // They count: two of that plugin's, three of ours.
        for (verb, code) in [("ADD", 11), ("STATUS", 50)] {
            let told = caller.refused(verb, "none", code)?;
            ensure!(
                told.contains("10.1.2.0/29 has 5 of 5 in use") && told.contains("container dead"),
                "{told}"
            );
        }
        for id in ["more", "last"] {
            caller.call("DEL", id)?.ok()?;
        }
        // The living one's by its DEL, the dead one's by a GC.
        caller.call("DEL", "old")?.ok()?;
        caller.call("GC", "")?.ok()?;
        let left = caller.node.attempt(|| tree(std::path::Path::new(folder)))?;
        ensure!(left.into_keys().eq(["lock".to_owned()]));
        ensure!(caller.ours()?.is_empty(), "{:?}", caller.ours()?);
        Ok(())
    })
}

#[test]
fn an_address_that_is_asked_for_is_given_or_refused_with_the_reason() -> Result<()> {
    Lab::scenario(|lab| {
        let caller = Caller::new(lab, json!({"subnet": "10.1.2.0/24"}))?;
        for files in [false, true] {
            let mut caller = caller.same();
            if files {
                caller.conf["ipam"]["dataDir"] = FILES.into();
            }
            ensure!(caller.asking("IP=10.1.2.77").add("a")? == ["10.1.2.77/24"]);
            let runtime = json!({"ips": ["10.1.2.78/24"]});
            ensure!(caller.with("runtimeConfig", runtime).add("b")? == ["10.1.2.78/24"]);
            let args = json!({"cni": {"ips": ["10.1.2.79"]}});
            ensure!(caller.with("args", args).add("c")? == ["10.1.2.79/24"]);
            let taken = caller.asking("IP=10.1.2.77").refused("ADD", "d", 102)?;
            ensure!(
                taken.contains("10.1.2.77 is asked for and is held by container a"),
                "{taken}"
            );
            for (ip, part) in [
                ("10.9.2.1", "no range offers it"),
                ("10.1.2.1", "the gateway"),
                ("banana", "no address"),
            ] {
                let told = caller.asking(&format!("IP={ip}")).refused("ADD", "d", 7)?;
                ensure!(told.contains(part), "{told}");
            }
            let ranges = json!({"ipRanges": [[{"subnet": "10.1.7.0/24"}]]});
            let first = caller.with("runtimeConfig", ranges).add("e")?;
            ensure!(
                first[0] == "10.1.7.2/24",
                "the runtime's come first: {first:?}"
            );
            for id in ["a", "b", "c", "d", "e"] {
                caller.call("DEL", id)?.ok()?;
            }
        }
        ensure!(caller.ours()?.is_empty(), "{:?}", caller.ours()?);
        Ok(())
    })
}

#[test]
fn a_gc_of_host_local_keeps_what_is_listed() -> Result<()> {
    Lab::scenario(|lab| {
        let subnet = json!({"subnet": "10.1.2.0/24"});
        let caller = Caller::new(lab, subnet)?;
        let listed = json!([{"containerID": "a", "ifname": "eth0"}]);
        for id in ["a", "b"] {
            caller.add(id)?;
        }
        caller
            .with("cni.dev/valid-attachments", listed.clone())
            .call("GC", "")?
            .ok()?;
        ensure!(
            caller.ours()? == ["theirs/attachments/a@eth0", "theirs/leases/10.1.2.2"],
            "{:?}",
            caller.ours()?
        );

        let mut files = caller.same();
        files.conf["ipam"]["dataDir"] = FILES.into();
        ensure!(
            files.add("c")? == ["10.1.2.3/24"],
            "not what is leased in our own state"
        );
        for id in ["a", "c"] {
            caller.call("DEL", id)?.ok()?;
            files.call("DEL", id)?.ok()?;
        }
        files.node.attempt(|| Ok(fs::remove_dir_all(FILES)?))?;
        for id in ["a", "b"] {
            files.add(id)?;
        }
        // What is younger than the call stays: its ADD may not have been known to whoever made the list.
        files
            .with("cni.dev/valid-attachments", listed.clone())
            .call("GC", "")?
            .ok()?;
        ensure!(files.files()?.len() == 4, "{:?}", files.files()?);
        files.node.attempt(|| {
            let long_ago = fs::File::options()
                .write(true)
                .open(format!("{FILES}/theirs/10.1.2.3"))?;
            Ok(long_ago.set_modified(std::time::SystemTime::UNIX_EPOCH)?)
        })?;
        files
            .with("cni.dev/valid-attachments", listed)
            .call("GC", "")?
            .ok()?;
        let left: Vec<String> = files.files()?.into_iter().map(|(name, _)| name).collect();
        ensure!(
            left == ["10.1.2.2", "last_reserved_ip.0", "lock"],
            "{left:?}"
        );
        Ok(())
    })
}

#[test]
fn a_hundred_callers_at_once_get_a_hundred_addresses() -> Result<()> {
    Lab::scenario(|lab| {
        for files in [false, true] {
            let mut caller = Caller::new(lab, json!({"subnet": "10.1.2.0/24"}))?;
            if files {
                caller.conf["ipam"]["dataDir"] = FILES.into();
            }
            let caller = &caller;
            let mut given = std::thread::scope(|scope| {
                let calls: Vec<_> = (0..100)
                    .map(|n| scope.spawn(move || caller.add(&format!("c{n}"))))
                    .collect();
                let ended = calls
                    .into_iter()
                    .map(|call| call.join().map_err(|_| anyhow::anyhow!("a panic"))?);
                ended.collect::<Result<Vec<Vec<String>>>>()
            })?;
            given.sort();
            given.dedup();
            ensure!(given.len() == 100, "{} addresses", given.len());
            caller.node.reboot()?;
            if !files {
                ensure!(caller.add("anew")? == ["10.1.2.2/24"], "a new life");
            }
        }
        Ok(())
    })
}

#[test]
fn trap10_a_status_of_host_local_waits_for_no_lock_and_makes_no_file() -> Result<()> {
    Lab::scenario(|lab| {
        let caller = Caller::new(lab, with_files(json!({"subnet": "10.1.2.0/30"})))?;
        caller.call("STATUS", "")?.ok()?;
        ensure!(caller.files()?.is_empty(), "{:?}", caller.files()?);
        caller.add("a")?;
        let lock = format!("{FILES}/theirs/lock");
        let lock = caller.node.attempt(|| Ok(fs::File::open(&lock)?))?;
        lock.lock()?;
        let full = caller.refused("STATUS", "", 50)?;
        ensure!(full.contains("has 1 of 1 in use"), "{full}");
        caller.call("CHECK", "a")?.ok()?;
        lock.unlock()?;
        Ok(())
    })
}
