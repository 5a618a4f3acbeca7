//! Who may come in.

use std::collections::BTreeMap;

/// The users of the node.
#[derive(Clone, Debug, Default)]
pub struct Users(BTreeMap<Box<[u8]>, User>);

#[derive(Clone, Debug)]
struct User {
    password: Box<[u8]>,
    /// May only connect from the machine that the broker runs on.
    only_from_here: bool,
}

impl Users {
    /// Adds a user, or replaces the one of that name.
    pub fn add(&mut self, name: &str, password: &str, only_from_here: bool) {
        let user = User { password: password.as_bytes().into(), only_from_here };
        self.0.insert(name.as_bytes().into(), user);
    }

    /// Whether this user, with this password, may connect from where it does.
    pub(super) fn admits(&self, name: &[u8], password: &[u8], from_here: bool) -> bool {
        self.0.get(name).is_some_and(|user| {
            same_octets(&user.password, password) && (from_here || !user.only_from_here)
        })
    }
}

/// Compares in a time that tells nothing of where the two differ.
fn same_octets(left: &[u8], right: &[u8]) -> bool {
    let differing = left.iter().zip(right).fold(0, |sum, (left, right)| sum | (left ^ right));
    left.len() == right.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        let mut users = Users::default();
        users.add("guest", "guest", true);
        users.add("anna", "secret", false);
        users
    }

    #[test]
    fn a_user_comes_in_with_the_right_password() {
        assert!(users().admits(b"anna", b"secret", false));
        assert!(!users().admits(b"anna", b"secre", false));
        assert!(!users().admits(b"anna", b"Secret", true));
        assert!(!users().admits(b"nobody", b"", true));
    }

    #[test]
    fn a_loopback_user_comes_in_from_this_machine_only() {
        assert!(users().admits(b"guest", b"guest", true));
        assert!(!users().admits(b"guest", b"guest", false));
    }
}
