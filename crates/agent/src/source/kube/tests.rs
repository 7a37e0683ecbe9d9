//! A source whose API server is away at the start.

use super::*;
use model::cluster::Node;
use model::name::{NetworkName, NodeName};
use std::path::PathBuf;

/// A run folder and a kubeconfig that leads to nobody.
struct Away(PathBuf);

impl Away {
    fn new() -> Self {
        let run = std::env::temp_dir().join(format!("podwire-away-{}", std::process::id()));
        std::fs::create_dir(&run).unwrap();
        let config = "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\nclusters: [{name: a, cluster: {server: \"http://127.0.0.1:1\"}}]\nusers: [{name: a, user: {}}]\n";
        std::fs::write(run.join("kubeconfig"), config).unwrap();
        Self(run)
    }

    fn follow(&self) -> Kube {
        let access = Access {
            kubeconfig: Some(self.0.join("kubeconfig")),
            server: None,
        };
        let settings = Settings {
            own: own(),
            network: NetworkName::new("podwire").unwrap(),
            prefixes: Vec::new(),
        };
        let vitals = Arc::new(Vitals::new(&self.0, true));
        Kube::follow(access, settings, &vitals, &self.0)
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn own() -> NodeName {
    NodeName::new("a").unwrap()
}

fn whats(kube: &Kube) -> String {
    let whats = kube.findings().iter().map(|finding| finding.what.clone());
    whats.collect::<Vec<_>>().join("\n")
}

async fn until_away(kube: &mut Kube) -> Reading {
    loop {
        kube.touched().await;
        let reading = kube.again();
        if whats(kube).contains("unreachable") {
            return reading;
        }
    }
}

#[tokio::test]
async fn without_the_api_server_the_cluster_of_the_last_run_is_known_until_the_first_list() {
    let away = Away::new();
    let mut first = away.follow();
    assert!(matches!(until_away(&mut first).await, Reading::Told));
    assert!(!first.is_remembered() && first.cluster.is_none());

    let node = Node {
        addresses: vec!["10.128.0.2".parse().unwrap()],
        ranges: Vec::new(),
    };
    let cluster = Cluster {
        network: NetworkName::new("podwire").unwrap(),
        prefixes: Vec::new(),
        nodes: [(own(), node)].into(),
    };
    let mut last = Last::below(&away.0, &own());
    last.changed();
    last.keep(Duration::ZERO, &cluster);

    let mut second = away.follow();
    assert!(
        matches!(second.again(), Reading::Told),
        "the server may answer yet"
    );
    match until_away(&mut second).await {
        Reading::New(known) => assert_eq!(known, cluster),
        other @ (Reading::Same | Reading::Told) => panic!("{other:?}"),
    }
    assert!(second.is_remembered() && whats(&second).contains("earlier run"));
    assert!(matches!(second.again(), Reading::Same));
    // Of what is only remembered nothing is kept anew: its time stays.
    second.keep(Duration::from_secs(3600));
    second.known.listed(second.known.empty());
    assert!(matches!(second.again(), Reading::New(known) if known.nodes.is_empty()));
    assert!(!second.is_remembered() && !whats(&second).contains("earlier run"));
    second.keep(Duration::from_secs(7200));
    let kept = Last::below(&away.0, &own()).read().unwrap().0;
    assert!(kept.nodes.is_empty());
}
