//! The cluster's keys: one authority, a certificate for each user of the API server, a kubeconfig around each.
//!
//! The program openssl makes them, one call each. Users are told apart by their certificate (common name: user,
//! organization: group), so that a machine can be added at any time. Keys live as long as the running cluster, unless all of
//! them are replaced together. See Kubernetes' documents "PKI certificates and requirements" and "Authenticating".

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::run;
use crate::shape::Family;
use crate::{Place, lan};

/// The authority's name among the files.
pub(crate) const AUTHORITY: &str = "ca";
/// The API server's own certificate.
pub(crate) const API_SERVER: &str = "kube-apiserver";
/// With it the API server speaks to kubelets.
pub(crate) const TO_KUBELETS: &str = "to-kubelets";
/// With it the API server speaks to servers of aggregated APIs.
pub(crate) const FRONT_PROXY: &str = "front-proxy";
/// Signs the tokens of service accounts.
pub(crate) const SERVICE_ACCOUNTS: &str = "service-accounts";
/// Who may do everything.
pub(crate) const ADMIN: &str = "admin";

/// The group that no authorizer refuses.
const MASTERS: &str = "system:masters";
const DAYS: &str = "3650";

/// The folder of keys, certificates and kubeconfigs.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    folder: PathBuf,
}

impl Keys {
    pub(crate) fn of(place: &Place) -> Self {
        Self {
            folder: place.run().join("keys"),
        }
    }

    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.crt"))
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    pub(crate) fn kubeconfig(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.conf"))
    }

    /// Makes all that a control plane needs.
    pub(crate) fn make(&self, family: Family) -> Result<()> {
        let folder = &self.folder;
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        self.request(
            AUTHORITY,
            "/CN=podwire-cluster",
            &["basicConstraints=critical,CA:true"],
        )?;
        self.request(SERVICE_ACCOUNTS, "/CN=service-accounts", &[])?;
        let names = format!("subjectAltName={}", api_names(family)?);
        self.sign(API_SERVER, "/CN=kube-apiserver", &names)?;
        self.client(TO_KUBELETS, "to-kubelets", MASTERS)?;
        self.client(FRONT_PROXY, FRONT_PROXY, "front-proxies")?;
        self.user(ADMIN, ADMIN, MASTERS, family)?;
        for program in ["kube-controller-manager", "kube-scheduler", "kube-proxy"] {
            self.user(
                program,
                &format!("system:{program}"),
                "podwire-cluster",
                family,
            )?;
        }
        Ok(())
    }

    /// Makes a node's key and kubeconfig.
    pub(crate) fn node(&self, node: &str, family: Family) -> Result<()> {
        self.user(node, &format!("system:node:{node}"), "system:nodes", family)
    }

    fn user(&self, name: &str, user: &str, group: &str, family: Family) -> Result<()> {
        self.client(name, user, group)?;
        let text = format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters: [{{name: it, cluster: {{server: 'https://{server}', certificate-authority: {authority}}}}}]\n\
             users: [{{name: me, user: {{client-certificate: {certificate}, client-key: {key}}}}}]\n\
             contexts: [{{name: it, context: {{cluster: it, user: me}}}}]\n\
             current-context: it\n",
            server = lan::api_server(family)?,
            authority = self.certificate(AUTHORITY).display(),
            certificate = self.certificate(name).display(),
            key = self.key(name).display(),
        );
        let path = self.kubeconfig(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    fn client(&self, name: &str, user: &str, group: &str) -> Result<()> {
        let subject = format!("/O={group}/CN={user}");
        self.sign(name, &subject, "extendedKeyUsage=clientAuth")
    }

    fn sign(&self, name: &str, subject: &str, extension: &str) -> Result<()> {
        let authority = [self.certificate(AUTHORITY), self.key(AUTHORITY)];
        let authority = authority.map(|path| path.display().to_string());
        let [certificate, key] = &authority;
        self.openssl(
            name,
            subject,
            &[extension],
            &["-CA", certificate, "-CAkey", key],
        )
    }

    fn request(&self, name: &str, subject: &str, extensions: &[&str]) -> Result<()> {
        self.openssl(name, subject, extensions, &[])
    }

    fn openssl(
        &self,
        name: &str,
        subject: &str,
        extensions: &[&str],
        signer: &[&str],
    ) -> Result<()> {
        let mut command = Command::new("openssl");
        // Without a configuration of its own, the machine's would make each of them an authority.
        command.args(["req", "-x509", "-new", "-nodes", "-config", "/dev/null"]);
        command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        command.args(["-days", DAYS, "-subj", subject]).args(signer);
        for extension in extensions {
            command.args(["-addext", extension]);
        }
        command.arg("-keyout").arg(self.key(name));
        command.arg("-out").arg(self.certificate(name));
        run(&mut command).map(drop)
    }
}

fn api_names(family: Family) -> Result<String> {
    let mut names = vec!["IP:127.0.0.1".to_owned()];
    names.extend(lan::api_names(family)?.iter().map(|ip| format!("IP:{ip}")));
    for service in ["kubernetes", "kubernetes.default", "kubernetes.default.svc"] {
        names.push(format!("DNS:{service}"));
    }
    names.push("DNS:kubernetes.default.svc.cluster.local".to_owned());
    Ok(names.join(","))
}
