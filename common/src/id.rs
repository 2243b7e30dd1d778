//! Ids, each its own type, so that a region is never looked up by a store's number.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}", self.0)
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}", self.0)
            }
        }
        impl From<u64> for $name {
            fn from(id: u64) -> Self {
                Self(id)
            }
        }
    };
}

id!(
    /// A key range and its raft group. Kept by the left part when a region splits.
    RegionId
);
id!(
    /// A storage process (or, in `basalt up --stores n`, one of the stores of the process).
    StoreId
);
id!(
    /// A replica of a region on a store; never used twice, not even by the same region on the same store.
    PeerId
);
id!(
    /// A table. Its rows and index entries lie under its own key prefix.
    TableId
);
id!(
    /// An index of a table, numbered within the table.
    IndexId
);
