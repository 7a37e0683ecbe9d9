//! An API server that answers by a script, and what is known after it.

use super::*;
use crate::metrics::Api;
use crate::source::kube::known::Outage;
use host::machine::{Machine, Paths};
use model::change::Change;
use model::name::{IfName, NodeName};
use std::path::PathBuf;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One request and its answer.
struct Turn {
    /// Must stand in the request's target.
    asked: &'static str,
    status: u16,
    lines: Vec<String>,
    /// Whether the answer goes on for ever.
    hold: bool,
}

fn turn(asked: &'static str, status: u16, lines: &[String]) -> Turn {
    Turn {
        asked,
        status,
        lines: lines.to_vec(),
        hold: false,
    }
}

fn hold(asked: &'static str, lines: &[String]) -> Turn {
    Turn {
        hold: true,
        ..turn(asked, 200, lines)
    }
}

const STREAM: &str = "sendInitialEvents=true";

fn node(name: &str, version: u32) -> String {
    format!(
        r#"{{"kind":"Node","apiVersion":"v1","metadata":{{"name":"{name}","resourceVersion":"{version}","creationTimestamp":"2026-11-24T09:00:00Z"}},"spec":{{"podCIDRs":["10.244.{version}.0/24"]}}}}"#
    )
}

fn event(kind: &str, object: &str) -> String {
    format!(r#"{{"type":"{kind}","object":{object}}}"#)
}

fn mark(version: u32, annotations: &str) -> String {
    let object = format!(
        r#"{{"kind":"Node","apiVersion":"v1","metadata":{{"resourceVersion":"{version}","annotations":{{{annotations}}}}}}}"#
    );
    event("BOOKMARK", &object)
}

fn end_of_list(version: u32) -> String {
    mark(version, r#""k8s.io/initial-events-end":"true""#)
}

fn status(code: u16) -> String {
    format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"no","reason":"Any","code":{code}}}"#
    )
}

fn page(rest: &str, version: u32, nodes: &[String]) -> String {
    format!(
        r#"{{"kind":"NodeList","apiVersion":"v1","metadata":{{"resourceVersion":"{version}","continue":"{rest}"}},"items":[{}]}}"#,
        nodes.join(",")
    )
}

/// A fresh network namespace, in which these tests may run, has its loopback down.
async fn listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    if TcpStream::connect(address).await.is_ok() {
        drop(listener.accept().await.unwrap());
    } else {
        let up = [Change::SetUp(IfName::new("lo").unwrap())];
        let mut machine = Machine::open(Paths::default()).unwrap();
        let report = machine.apply(&up, 0);
        assert!(report.failed.is_empty(), "{:?}", report.failed);
    }
    listener
}

async fn answer_one(stream: &mut TcpStream, turn: &Turn) {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        asked.push(stream.read_u8().await.unwrap());
    }
    let asked = String::from_utf8(asked).unwrap();
    assert!(asked.contains(turn.asked), "{asked} is not {}", turn.asked);
    let head = format!(
        "HTTP/1.1 {} Any\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n",
        turn.status
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for line in &turn.lines {
        stream.write_all(line.as_bytes()).await.unwrap();
        stream.write_all(b"\n").await.unwrap();
    }
}

/// Follows a server with this script until the script is over and what is known is as wanted.
struct Play {
    known: Arc<Known>,
    server: JoinHandle<()>,
    follower: JoinHandle<()>,
    kubeconfig: PathBuf,
}

impl Play {
    async fn begin(name: &str, script: Vec<Turn>) -> Self {
        let listener = listener().await;
        let address = listener.local_addr().unwrap();
        let kubeconfig =
            std::env::temp_dir().join(format!("podwire-follow-{name}-{}", std::process::id()));
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{{name: a, context: {{cluster: a, user: a}}}}]\nclusters: [{{name: a, cluster: {{server: \"http://{address}\"}}}}]\nusers: [{{name: a, user: {{}}}}]\n"
        );
        std::fs::write(&kubeconfig, text).unwrap();
        let known = Arc::new(Known::nothing(&NodeName::new("a").unwrap(), Api::default()));
        let access = Access {
            kubeconfig: Some(kubeconfig.clone()),
            server: None,
        };
        Self {
            follower: tokio::spawn(follow(access, Arc::clone(&known))),
            known,
            server: tokio::spawn(async move {
                let mut held = Vec::new();
                for turn in script {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    answer_one(&mut stream, &turn).await;
                    if turn.hold {
                        held.push(stream);
                    }
                }
                if !held.is_empty() {
                    std::future::pending::<()>().await;
                }
            }),
            kubeconfig,
        }
    }

    fn names(&self) -> Vec<String> {
        let state = self.known.state();
        let nodes = state.nodes.iter().flat_map(|nodes| nodes.seen.keys());
        nodes.map(ToString::to_string).collect()
    }

    fn outage(&self) -> Option<Trouble> {
        let outage: Option<Outage> = self.known.state().outage.clone();
        outage.map(|outage| outage.why)
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let waited = timeout(Duration::from_secs(10), async {
            while !is_so(self) {
                self.known.news().await;
            }
        });
        assert!(
            waited.await.is_ok(),
            "{what}: {:?} {:?}",
            self.names(),
            self.outage()
        );
    }
}

impl Drop for Play {
    fn drop(&mut self) {
        self.follower.abort();
        self.server.abort();
        let _there_or_not = std::fs::remove_file(&self.kubeconfig);
    }
}

#[tokio::test]
async fn a_streamed_list_and_a_watch_are_the_nodes() {
    let script = vec![
        turn(
            STREAM,
            200,
            &[
                event("ADDED", &node("a", 1)),
                event("ADDED", &node("b", 2)),
                end_of_list(7),
            ],
        ),
        hold(
            "resourceVersion=7",
            &[
                event("ADDED", &node("c", 8)),
                event("DELETED", &node("b", 9)),
            ],
        ),
    ];
    let play = Play::begin("stream", script).await;
    play.until("listed and watched", |play| play.names() == ["a", "c"])
        .await;
    assert_eq!(play.outage(), None);
}

#[tokio::test]
async fn a_server_without_streamed_lists_is_asked_for_pages() {
    let script = vec![
        turn(STREAM, 422, &[status(422)]),
        turn("limit=100", 200, &[page("more", 5, &[node("a", 1)])]),
        turn("continue=more", 200, &[page("", 5, &[node("b", 2)])]),
        hold("resourceVersion=5", &[event("ADDED", &node("c", 6))]),
    ];
    let play = Play::begin("pages", script).await;
    play.until("all pages", |play| play.names() == ["a", "b", "c"])
        .await;
}

#[tokio::test]
async fn a_watch_that_ends_is_resumed_and_one_that_is_too_old_begins_with_a_list() {
    let script = vec![
        turn(
            STREAM,
            200,
            &[event("ADDED", &node("a", 1)), end_of_list(7)],
        ),
        turn("resourceVersion=7", 200, &[mark(9, "")]),
        turn("resourceVersion=9", 200, &[event("ERROR", &status(410))]),
        turn(
            STREAM,
            200,
            &[event("ADDED", &node("b", 2)), end_of_list(20)],
        ),
        turn("resourceVersion=20", 410, &[status(410)]),
        turn(
            STREAM,
            200,
            &[event("ADDED", &node("c", 3)), end_of_list(30)],
        ),
        hold("resourceVersion=30", &[]),
    ];
    let play = Play::begin("gone", script).await;
    play.until("the third list", |play| play.names() == ["c"])
        .await;
    assert_eq!(play.outage(), None);
}

#[tokio::test]
async fn what_is_known_stays_while_the_server_refuses_or_is_silent() {
    let script = vec![
        turn(
            STREAM,
            200,
            &[event("ADDED", &node("a", 1)), end_of_list(7)],
        ),
        turn("resourceVersion=7", 500, &[status(500)]),
        turn("resourceVersion=7", 200, &["what?".to_owned()]),
        hold("resourceVersion=7", &[event("ADDED", &node("b", 8))]),
    ];
    let play = Play::begin("away", script).await;
    let refusal = Trouble::Refusal("500 no".into());
    play.until("refused", |play| play.outage() == Some(refusal.clone()))
        .await;
    assert_eq!(play.names(), ["a"]);
    play.until("back", |play| play.names() == ["a", "b"]).await;
    assert_eq!(play.outage(), None);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said() {
    let play = Play::begin("nobody", Vec::new()).await;
    play.until("silent", |play| {
        matches!(play.outage(), Some(Trouble::Silent(_)))
    })
    .await;
    assert_eq!(play.names(), [""; 0]);
}
