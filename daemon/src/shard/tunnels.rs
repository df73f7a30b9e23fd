//! The shards as the control side sees them.

use std::collections::HashMap;
use std::sync::Arc;

use ferry_ike::Event;
use ferry_ike::config::{Child, Configuration, Connection};
use ferry_ike::output::{ChildSaId, IkeSaId};
use ferry_ike::redirect::Gateway;
use ferry_ike::status::{Counters, IkeSaStatus};
use tokio::sync::broadcast;

use super::Shards;
use crate::control::{ChildUse, Tunnels};

impl Tunnels for Shards {
    async fn configure(&self, configuration: Arc<Configuration>) {
        Shards::configure(self, configuration).await;
    }

    async fn initiate(&self, connection: Arc<Connection>, child: Option<Arc<Child>>) -> Result<(), String> {
        Shards::initiate(self, connection, child, None).await
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
