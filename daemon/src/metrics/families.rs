//! How a snapshot is written: names, labels and units.

use std::fmt;

use ferry_ike::status::ExchangeCounters;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::snapshot::Snapshot;

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.sas(&mut encoder)?;
        self.messages(&mut encoder)?;
        self.children(&mut encoder)?;
        self.stores(&mut encoder)?;
        self.kernel(&mut encoder)
    }
}

impl Snapshot {
    fn sas(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let states = |states: &std::collections::BTreeMap<&'static str, u64>| {
            states.iter().map(|(state, number)| ([("state", *state)], *number)).collect::<Vec<_>>()
        };
        gauge(encoder, "ferry_ike_sas", "IKE SAs by state", states(&self.ike_sas))?;
        gauge(encoder, "ferry_child_sas", "CHILD_SAs by state", states(&self.child_sas))?;
        let handshakes = &self.counters.handshakes;
        let outcomes = [
            ("established", handshakes.established),
            ("no-connection", handshakes.no_connection),
            ("no-proposal", handshakes.no_proposal),
            ("unauthenticated", handshakes.unauthenticated),
            ("refused", handshakes.refused),
            ("unanswered", handshakes.unanswered),
            ("malformed", handshakes.malformed),
            ("other", handshakes.other),
        ];
        let outcomes = outcomes.map(|(outcome, number)| ([("outcome", outcome)], number));
        counter(
            encoder,
            "ferry_handshakes",
            "IKE SAs that were to be made, by what became of them",
            outcomes,
        )?;
        let rekeys = [
            ([("sa", "ike"), ("by", "us")], self.counters.ike_rekeyed_by_us),
            ([("sa", "ike"), ("by", "peer")], self.counters.ike_rekeyed_by_peer),
            ([("sa", "child"), ("by", "either")], self.counters.children_rekeyed),
        ];
        counter(encoder, "ferry_rekeys", "SAs that another has taken the place of", rekeys)
    }

    fn messages(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counters = &self.counters;
        let exchanges: [(&str, &ExchangeCounters); 4] = [
            ("IKE_SA_INIT", &counters.ike_sa_init),
            ("IKE_AUTH", &counters.ike_auth),
            ("CREATE_CHILD_SA", &counters.create_child_sa),
            ("INFORMATIONAL", &counters.informational),
        ];
        let messages = exchanges.into_iter().flat_map(|(exchange, counted)| {
            let labels = |kind, direction| [("exchange", exchange), ("kind", kind), ("direction", direction)];
            [
                (labels("request", "in"), counted.requests_in),
                (labels("request", "out"), counted.requests_out),
                (labels("response", "in"), counted.responses_in),
                (labels("response", "out"), counted.responses_out),
            ]
        });
        counter(encoder, "ferry_ike_messages", "Messages of IKE, those sent again left out", messages)?;
        one(encoder, "ferry_ike_retransmits", "Requests that were sent again", counters.retransmits)?;
        let refused = [
            ("malformed", counters.invalid),
            ("unknown-spi", counters.invalid_spi),
            ("unauthentic", counters.unauthentic),
            ("half-open-limit", counters.dropped_half_open),
        ];
        let refused = refused.map(|(reason, number)| ([("reason", reason)], number));
        counter(encoder, "ferry_ike_dropped", "Messages of IKE that were not worked on", refused)?;
        one(encoder, "ferry_ike_cookies", "Peers asked to come back with a cookie", counters.cookies_demanded)
    }

    fn children(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let up = self.wanted.iter().map(|((connection, child), is_up)| {
            ([("connection", connection.as_str()), ("child", child.as_str())], u64::from(*is_up))
        });
        gauge(encoder, "ferry_child_up", "Whether a child with a start action has a CHILD_SA", up)?;
        let carried = |of: fn(&crate::control::ChildUse) -> (u64, u64)| {
            self.carried.iter().flat_map(move |((connection, child), used)| {
                let labels = |direction| {
                    [("connection", connection.as_str()), ("child", child.as_str()), ("direction", direction)]
                };
                let (inbound, outbound) = of(used);
                [(labels("in"), inbound), (labels("out"), outbound)]
            })
        };
        let help = "Octets of inner packets that the present CHILD_SAs have carried; less when one is rekeyed or ends";
        gauge(encoder, "ferry_child_bytes", help, carried(|used| (used.bytes_in, used.bytes_out)))?;
        let help = "Packets that the present CHILD_SAs have carried; less when one is rekeyed or ends";
        gauge(encoder, "ferry_child_packets", help, carried(|used| (used.packets_in, used.packets_out)))?;
        let left_out = u64::try_from(self.left_out).unwrap_or(u64::MAX);
        encoder
            .encode_descriptor(
                "ferry_children_left_out",
                "Children that are too many to be told of",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&left_out)
    }

    fn stores(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let pools = self.pools.iter().flat_map(|pool| {
            let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
            let (online, offline) = (count(pool.online), count(pool.offline));
            let free = u64::from(pool.size).saturating_sub(online).saturating_sub(offline);
            let labels = |state| [("pool", pool.name.as_str()), ("state", state)];
            [(labels("online"), online), (labels("offline"), offline), (labels("free"), free)]
        });
        let help = "Addresses of pools: in use, kept for their identities, and free";
        gauge(encoder, "ferry_pool_addresses", help, pools)?;
        let ends = self.certificates.iter().map(|((subject, serial), end)| {
            ([("subject", subject.as_str()), ("serial", serial.as_str())], *end)
        });
        gauge(encoder, "ferry_certificate_not_after", "When a certificate ends, in seconds since 1970", ends)
    }

    fn kernel(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let lost = self.kernel.iter().map(|(reason, count)| ([("reason", reason.as_str())], *count));
        counter(
            encoder,
            "ferry_kernel_lost",
            "Packets that IPsec in the kernel has dropped, by its reasons",
            lost,
        )
    }
}

fn gauge<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in rows {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

fn counter<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl IntoIterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in rows {
        metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}

fn one(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    encoder
        .encode_descriptor(name, help, None, MetricType::Counter)?
        .encode_counter::<NoLabelSet, _, u64>(&value, None)
}
