//! Servers that judge EAP and keep accounts: FreeRADIUS, and hostapd's. Each has a folder, a configuration and a
//! namespace of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::{Deadline, Host, Log, Mark, Process, until};

/// How long a server may take to serve, and to write what it was told.
const PATIENCE: Duration = Duration::from_secs(15);

/// FreeRADIUS on a host.
#[derive(Debug)]
pub struct FreeRadius {
    directory: PathBuf,
    host: Rc<Host>,
    log: Log,
    process: Process,
}

impl FreeRadius {
    /// Starts one at this address for a gateway at another, which share a secret. `users` is what its `users` file says.
    pub fn start(host: &Rc<Host>, at: &str, gateway: &str, secret: &str, users: &str) -> Result<Self> {
        let directory = host.directory().join(format!("freeradius-{at}"));
        fs::create_dir_all(&directory)?;
        fs::write(directory.join("users"), users)?;
        let folder = directory.display();
        let conf = format!(
            "name = lab\nprefix = /usr\nlibdir = /usr/lib/freeradius\nraddbdir = {folder}\nrun_dir = {folder}\n\
             pidfile = {folder}/pid\nmax_request_time = 20\n\
             log {{\n destination = files\n file = {folder}/radius.log\n auth = yes\n }}\n\
             security {{\n max_attributes = 200\n reject_delay = 0\n status_server = no\n }}\n\
             client gateway {{\n ipaddr = {gateway}\n secret = {secret}\n require_message_authenticator = yes\n }}\n\
             modules {{\n\
             eap {{\n default_eap_type = mschapv2\n md5 {{\n }}\n mschapv2 {{\n }}\n }}\n\
             mschap {{\n }}\n\
             files {{\n usersfile = {folder}/users\n }}\n\
             detail {{\n filename = {folder}/accounting\n }}\n\
             detail requests {{\n filename = {folder}/requests\n }}\n }}\n\
             server lab {{\n\
             listen {{\n type = auth\n ipaddr = {at}\n port = 1812\n }}\n\
             listen {{\n type = acct\n ipaddr = {at}\n port = 1813\n }}\n\
             authorize {{\n requests\n eap {{\n ok = return\n }}\n files\n }}\n\
             authenticate {{\n Auth-Type MS-CHAP {{\n mschap\n }}\n eap\n }}\n\
             accounting {{\n detail\n }}\n }}\n"
        );
        fs::write(directory.join("radiusd.conf"), conf)?;
        let said = File::create(directory.join("said"))?;
        let mut command = Command::new("freeradius");
        command.arg("-f").arg("-d").arg(&directory).stdout(said.try_clone()?).stderr(said);
        let process = host.spawn(command)?;
        let log = Log::new(directory.join("radius.log"));
        let server = Self { directory, host: Rc::clone(host), log, process };
        let ready =
            server.log.wait_for(Mark::BEGINNING, &["Ready to process requests"], Deadline::after(PATIENCE));
        ready.with_context(|| fs::read_to_string(server.directory.join("said")).unwrap_or_default())?;
        Ok(server)
    }

    /// What it logs.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The host it runs on.
    pub fn host(&self) -> &Rc<Host> {
        &self.host
    }

    /// The Accounting-Requests it has taken, in order, by attribute.
    pub fn records(&self) -> Result<Vec<Record>> {
        self.written("accounting")
    }

    /// The Access-Requests it has taken, in order, by attribute.
    pub fn requests(&self) -> Result<Vec<Record>> {
        self.written("requests")
    }

    fn written(&self, name: &str) -> Result<Vec<Record>> {
        let path = self.directory.join(name);
        let text = if path.exists() { fs::read_to_string(path)? } else { String::new() };
        Ok(text.split("\n\n").filter(|block| !block.trim().is_empty()).map(Record::parse).collect())
    }

    /// Waits for a record of this kind, such as `Stop`.
    pub fn wait_for(&self, kind: &str) -> Result<Record> {
        until(Deadline::after(PATIENCE), &format!("a record of the kind {kind}"), || {
            Ok(self.records()?.into_iter().find(|record| record.get("Acct-Status-Type") == Some(kind)))
        })
    }

    /// Ends it without a word to anybody.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill().map(drop)
    }
}

/// What a server has written of one request.
#[derive(Clone, Debug)]
pub struct Record(BTreeMap<String, String>);

impl Record {
    fn parse(block: &str) -> Self {
        let lines = block.lines().filter_map(|line| line.trim().split_once(" = "));
        Self(lines.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned())).collect())
    }

    /// The value of an attribute.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of an attribute that is a number.
    pub fn number(&self, name: &str) -> Result<u64> {
        let value = self.get(name).with_context(|| format!("there is no {name} in {self:?}"))?;
        value.parse().with_context(|| format!("{name} = {value} is no number"))
    }
}

/// Starts hostapd's RADIUS server, and gives what it says. `users` is its file of users, by which methods are allowed; what
/// those with TLS need is in `more`.
///
/// It serves all clients that have the secret, on the usual port.
pub fn hostapd(host: &Host, name: &str, secret: &str, users: &str, more: &str) -> Result<Log> {
    let directory = host.directory().join("hostapd");
    fs::create_dir_all(&directory)?;
    let folder = directory.display();
    fs::write(directory.join("clients"), format!("0.0.0.0/0 {secret}\n"))?;
    fs::write(directory.join("users"), users)?;
    let conf = format!(
        "driver=none\ninterface=lo\nlogger_stdout=-1\nlogger_stdout_level=2\neap_server=1\nserver_id={name}\n\
         eap_user_file={folder}/users\nradius_server_clients={folder}/clients\nradius_server_auth_port=1812\n{more}"
    );
    fs::write(directory.join("hostapd.conf"), conf)?;
    let said = directory.join("said");
    let file = File::create(&said)?;
    let mut command = Command::new("hostapd");
    command.arg(directory.join("hostapd.conf")).stdout(file.try_clone()?).stderr(file);
    host.keep(host.spawn(command)?);
    let log = Log::new(said);
    log.wait_for(Mark::BEGINNING, &["AP-ENABLED"], Deadline::after(PATIENCE))?;
    Ok(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_by_attribute() {
        let record = Record::parse(
            "Fri Nov 27 15:00:00 2026\n\tAcct-Status-Type = Stop\n\tUser-Name = \"alice\"\n\tAcct-Input-Octets = 84",
        );
        assert_eq!(record.get("User-Name"), Some("alice"));
        assert_eq!(record.number("Acct-Input-Octets").unwrap(), 84);
        assert!(record.number("Acct-Output-Octets").is_err());
    }
}
