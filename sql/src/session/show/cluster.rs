//! SHOW STORES and SHOW TABLE … REGIONS: what PD knows of the cluster.

use crate::catalog::model::Table;
use crate::error::{Error, Result};
use crate::session::rows::{Rows, number, text, varchar};
use basalt_client::Cluster;
use basalt_common::{KeyRange, table_key};
use basalt_expr::types::FieldType;
use basalt_expr::value::Value;

/// SHOW STORES.
///
/// # Errors
/// When PD does not answer.
pub async fn stores(cluster: &Cluster) -> Result<Rows> {
    let big = FieldType::bigint_unsigned;
    let mut rows = Rows::new(&[
        ("ID", big()),
        ("ADDRESS", varchar()),
        ("STATE", varchar()),
        ("REGIONS", big()),
        ("LEADERS", big()),
        ("SIZE_BYTES", big()),
    ]);
    for found in cluster.pd().stores().await? {
        let (store, stats) = (found.store.unwrap_or_default(), found.stats.unwrap_or_default());
        rows.push(vec![
            number(store.id),
            text(&store.address),
            text(store.state().as_str_name().to_lowercase()),
            number(stats.region_count),
            number(stats.leader_count),
            number(stats.used_bytes),
        ]);
    }
    Ok(rows)
}

/// SHOW TABLE t [INDEX i] REGIONS: those that hold keys of the rows (or of the index).
///
/// # Errors
/// 1176 for an unknown index; when PD does not answer.
pub async fn regions(cluster: &Cluster, table: &Table, index: Option<&str>) -> Result<Rows> {
    let big = FieldType::bigint_unsigned;
    let mut rows = Rows::new(&[
        ("REGION_ID", big()),
        ("START_KEY", FieldType::varchar(512)),
        ("END_KEY", FieldType::varchar(512)),
        ("LEADER_ID", big()),
        ("LEADER_STORE_ID", big()),
        ("PEERS", varchar()),
        ("APPROXIMATE_SIZE_BYTES", big()),
        ("APPROXIMATE_KEYS", big()),
    ]);
    for found in cluster.pd().scan_regions(&range_of(table, index)?).await? {
        let region = &found.region;
        let leader = |f: fn(&basalt_common::Peer) -> u64| found.leader.as_ref().map_or(Value::Null, |l| number(f(l)));
        let peers = region.peers.iter().map(|p| format!("{}@{}", p.id, p.store_id)).collect::<Vec<_>>().join(", ");
        rows.push(vec![
            number(region.id.0),
            text(readable(region.range.start.as_slice())),
            text(readable(region.range.end.as_slice())),
            leader(|l| l.id.0),
            leader(|l| l.store_id.0),
            text(peers),
            number(found.approximate_size_bytes),
            number(found.approximate_keys),
        ]);
    }
    Ok(rows)
}

/// The keys of a table's rows, or of one of its indexes.
///
/// # Errors
/// 1176 for an index that the table does not have.
pub fn range_of(table: &Table, index: Option<&str>) -> Result<KeyRange> {
    let Some(name) = index else { return Ok(table_key::rows_range(table.id)) };
    let index = table.entry_indexes().find(|i| i.name.eq_ignore_ascii_case(name)).ok_or_else(|| Error::User {
        code: 1176,
        sqlstate: "42000",
        message: format!("Key '{name}' doesn't exist in table '{}'", table.name),
    })?;
    Ok(table_key::index_range(table.id, index.id))
}

/// A boundary as people read it: `t_12_r_500`, `t_12_i_3_…`, or the bytes escaped; nothing for the ends of the key space.
fn readable(key: &[u8]) -> String {
    use basalt_common::table_key::TableKeyKind;
    match table_key::decode(key) {
        Ok((table, TableKeyKind::Row, mut rest)) if rest.len() == 8 => match basalt_common::codec::decode_i64(&mut rest) {
            Ok(handle) => format!("t_{table}_r_{handle}"),
            Err(_) => key.escape_ascii().to_string(),
        },
        Ok((table, TableKeyKind::Row, rest)) => format!("t_{table}_r_{}", hex(rest)),
        Ok((table, TableKeyKind::Index(index), rest)) => format!("t_{table}_i_{index}_{}", hex(rest)),
        Err(_) => key.escape_ascii().to_string(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
