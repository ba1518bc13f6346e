//! A gate's own journal, read whole.

use gate_agent::replica::ReplicaReader;
use gate_core::event::Event;

/// A gate's journal in its order: each event, and as it was written.
pub fn journal_of(reader: &ReplicaReader) -> anyhow::Result<Vec<(Event, Vec<u8>)>> {
    let mut events = Vec::new();
    let walked: anyhow::Result<()> = reader.journal(|bytes| {
        events.push((Event::decode(bytes)?, bytes.to_vec()));
        Ok(())
    })?;
    walked.map(|()| events)
}
