//! A broker that speaks only TLS, and the certificates it is given.

use crate::{
    broker::{fresh_directory, program},
    process::Process,
};
use leveret::net::tls::{Authority, Identity, Lifetime};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

const START_LIMIT: Duration = Duration::from_secs(60);

/// An authority of its own, with certificates of a server and of a client, as files.
pub(crate) struct Certificates {
    authority: Authority,
    pub(crate) directory: String,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let authority = Authority::new(Lifetime::days(1)).unwrap();
        let directory = fresh_directory().display().to_string();
        let made = Self { authority, directory };
        made.write("ca_certificate.pem", &made.authority.pair().certificate);
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        made.issue("server", Identity::Server(&names), Lifetime::days(1));
        made.issue("client", Identity::Client("client"), Lifetime::days(1));
        made
    }

    /// Makes a certificate and its key, in place of the ones of that name.
    pub(crate) fn issue(&self, name: &str, identity: Identity<'_>, lifetime: Lifetime) {
        let pair = self.authority.issue(identity, lifetime).unwrap();
        self.write(&format!("{name}_certificate.pem"), &pair.certificate);
        self.write(&format!("{name}_key.pem"), &pair.key);
    }

    /// Adds `client.p12`, the form in which Java reads keys; false without openssl.
    pub(crate) fn add_pkcs12(&self) -> bool {
        let mut command = Command::new("openssl");
        command.args(["pkcs12", "-export", "-passout", "pass:leveret", "-out", "client.p12"]);
        command.args(["-in", "client_certificate.pem", "-inkey", "client_key.pem"]);
        let status = command.current_dir(&self.directory).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(Path::new(&self.directory).join(name)).unwrap()
    }

    /// A file of settings that serves these certificates, and says `more`.
    pub(crate) fn settings(&self, more: &str) -> PathBuf {
        let directory = &self.directory;
        let text = format!(
            "listeners.ssl.default = 127.0.0.1:0\n\
             ssl_options.cacertfile = {directory}/ca_certificate.pem\n\
             ssl_options.certfile = {directory}/server_certificate.pem\n\
             ssl_options.keyfile = {directory}/server_key.pem\n\
             auth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL\n\
             default_user = CN=client,O=Leveret\ndefault_pass = secret\n{more}"
        );
        settings(&text)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(Path::new(&self.directory).join(name), text).unwrap();
    }
}

fn settings(text: &str) -> PathBuf {
    let file = fresh_directory().join("settings.conf");
    fs::write(&file, format!("listeners.tcp = none\n{text}")).unwrap();
    file
}

/// A broker process without a listener in plain.
pub(crate) struct Secured {
    pub(crate) port: u16,
    pub(crate) process: Process,
}

impl Secured {
    pub(crate) fn start(certificates: &Certificates, more: &str) -> Self {
        Self::start_on(&certificates.settings(more))
    }

    pub(crate) fn start_with(text: &str) -> Self {
        Self::start_on(&settings(text))
    }

    fn start_on(file: &Path) -> Self {
        let mut command = Command::new(program());
        let mut process = Process::start(command.args(["--ephemeral", "--config"]).arg(file));
        let ready = process.line(START_LIMIT, |line| line.contains("is ready: amqps on "));
        process.line(START_LIMIT, |line| line.contains("Server startup complete"));
        let (_, address) = ready.split_once("amqps on ").expect("the line was chosen for it");
        let port = address.split(';').next().and_then(|address| address.rsplit(':').next());
        let port = port.and_then(|port| port.parse().ok()).expect("it names a port");
        Self { port, process }
    }
}
