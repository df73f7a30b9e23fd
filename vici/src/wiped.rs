//! Growing buffers of secrets.

use zeroize::Zeroizing;

/// Appends octets. A buffer that has to move is wiped where it was; `Vec` would leave the old copy behind.
pub(crate) fn append(buffer: &mut Zeroizing<Vec<u8>>, octets: &[u8]) {
    let needed = buffer.len() + octets.len();
    if needed > buffer.capacity() {
        let mut grown = Zeroizing::new(Vec::with_capacity(needed.max(2 * buffer.capacity())));
        grown.extend_from_slice(buffer);
        *buffer = grown;
    }
    buffer.extend_from_slice(octets);
}
