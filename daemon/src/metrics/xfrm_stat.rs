//! What the kernel counts of packets that IPsec has cost: `/proc/net/xfrm_stat`, of the network namespace we are in.

/// Where the kernel tells.
const FILE: &str = "/proc/net/xfrm_stat";

/// Names, which are the kernel's, and counts. None where the kernel does not count.
pub(super) async fn read() -> Vec<(String, u64)> {
    match tokio::fs::read_to_string(FILE).await {
        Ok(text) => parse(&text),
        Err(error) => {
            tracing::debug!(target: "knl", "{FILE} cannot be read: {error}");
            Vec::new()
        }
    }
}

fn parse(text: &str) -> Vec<(String, u64)> {
    let row = |line: &str| {
        let (name, count) = line.split_once(char::is_whitespace)?;
        Some((name.to_owned(), count.trim().parse().ok()?))
    };
    text.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_names_are_kept() {
        let text = "XfrmInError             \t0\nXfrmInNoStates          \t17\nnonsense\n";
        assert_eq!(parse(text), [("XfrmInError".to_owned(), 0), ("XfrmInNoStates".to_owned(), 17)]);
        assert_eq!(parse(""), []);
    }
}
