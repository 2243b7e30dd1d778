//! What SET @name keeps, and counts.

use crate::error::Result;
use crate::memory::SessionMemory;
use basalt_common::memory::Account;
use basalt_expr::value::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a variable takes beside its name and its text.
const VARIABLE_BYTES: usize = 128;

/// A session's variables. Names are in lower case.
pub(super) struct UserVariables {
    values: BTreeMap<String, Value>,
    memory: Arc<SessionMemory>,
    held: Account,
}

fn bytes(name: &str, value: &Value) -> usize {
    VARIABLE_BYTES + name.len() + value.as_bytes().map_or(0, <[u8]>::len)
}

impl UserVariables {
    /// None.
    pub fn new(memory: Arc<SessionMemory>) -> UserVariables {
        UserVariables { values: BTreeMap::new(), held: memory.account_of_kept(), memory }
    }

    /// The value of a variable, NULL when there is none.
    pub fn get(&self, name: &str) -> Value {
        self.values.get(&name.to_lowercase()).cloned().unwrap_or(Value::Null)
    }

    /// Gives a variable a value.
    ///
    /// # Errors
    /// 8175 when the session would keep too much; the variable stays as it was.
    pub fn set(&mut self, name: &str, value: Value) -> Result<()> {
        let name = name.to_lowercase();
        let (new, old) = (bytes(&name, &value), self.values.get(&name).map_or(0, |old| bytes(&name, old)));
        self.memory.check_kept(new.saturating_sub(old))?;
        self.held.set(self.held.held() + new - old);
        self.values.insert(name, value);
        Ok(())
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.values.clear();
        self.held.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_count_for_the_session_and_are_bounded() {
        let memory = Arc::new(SessionMemory::new(7));
        memory.begin(1 << 20);
        let mut variables = UserVariables::new(memory.clone());
        let text = |bytes: usize| Value::from("x".repeat(bytes));
        variables.set("A", text(900_000)).expect("within the quota");
        assert!(memory.used() > 800_000);
        assert_eq!(variables.set("b", text(900_000)).expect_err("too much").code(), 8175);
        assert!(variables.get("b").is_null() && variables.get("a") == text(900_000));
        variables.set("a", text(1_000_000)).expect("in the place of the old one");
        variables.set("a", Value::Int(1)).expect("a number");
        variables.set("b", text(900_000)).expect("there is room again");
        variables.clear();
        assert_eq!(memory.used(), 0);
    }
}
