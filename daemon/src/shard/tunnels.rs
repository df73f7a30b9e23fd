//! The shards as the control side sees them.

use std::collections::HashMap;
use std::sync::Arc;

use ferry_ike::config::{Child, Configuration, Connection};
use ferry_ike::output::{ChildSaId, IkeSaId};
use ferry_ike::redirect::Gateway;
use ferry_ike::status::{Counters, IkeSaStatus};
use ferry_ike::{Event, Path, Trigger};
use tokio::sync::broadcast;

use super::Shards;
use crate::control::{ChildUse, Tunnels};
use crate::dataplane::{Policy, PolicyId};

impl Tunnels for Shards {
    async fn configure(&self, configuration: Arc<Configuration>) {
        Shards::configure(self, configuration).await;
    }

    async fn initiate(
        &self,
        connection: Arc<Connection>,
        child: Option<Arc<Child>>,
        trigger: Option<Trigger>,
    ) -> Result<(), String> {
        Shards::initiate(self, connection, child, trigger).await
    }

    async fn path(&self, connection: &Connection) -> Result<Path, String> {
        super::initiate::path(connection, self.inner.ports, &self.inner.dataplane).await
    }

    fn fresh_reqid(&self) -> u32 {
        self.inner.unique_ids.reqid()
    }

    async fn install_policy(&self, policy: Policy) -> Result<(), String> {
        self.inner.dataplane.install_policy(policy).await
    }

    async fn remove_policy(&self, id: PolicyId) {
        self.inner.dataplane.remove_policy(id).await;
    }

    fn settle_trap(&self, id: PolicyId, is_made: bool) {
        self.inner.dataplane.settle(id, is_made);
    }

    async fn terminate_ike(&self, id: IkeSaId, force: bool) -> Result<(), String> {
        Shards::terminate_ike(self, id, force).await
    }

    async fn redirect(&self, id: IkeSaId, gateway: Gateway) -> Result<(), String> {
        Shards::redirect(self, id, gateway).await
    }

    async fn terminate_child(&self, id: ChildSaId) -> Result<(), String> {
        Shards::terminate_child(self, id).await
    }

    async fn rekey_ike(&self, id: IkeSaId) -> Result<(), String> {
        Shards::rekey_ike(self, id).await
    }

    async fn reauthenticate_ike(&self, id: IkeSaId) -> Result<(), String> {
        Shards::reauthenticate_ike(self, id).await
    }

    async fn rekey_child(&self, id: ChildSaId) -> Result<(), String> {
        Shards::rekey_child(self, id).await
    }

    async fn list(&self) -> Vec<IkeSaStatus> {
        Shards::list(self).await
    }

    async fn usage(&self, child_sas: Vec<ChildSaId>) -> HashMap<ChildSaId, ChildUse> {
        self.inner.dataplane.query(child_sas).await
    }

    async fn counters(&self) -> Counters {
        Shards::counters(self).await
    }

    fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        Shards::events(self)
    }

    fn describe(&self) -> String {
        self.inner.dataplane.describe()
    }
}
