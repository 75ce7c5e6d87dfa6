//! Who may do what over the API, by the user that the kernel says is at the other end. Pure.
//!
//! Root and the controller's own user may do everything. Nobody else may do anything that the controller's
//! file does not give him.

use nix::unistd::Uid;

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look at what is declared and what became of it.
    Read,
    /// Also change it.
    Operate,
}

impl Role {
    /// What a caller without it cannot do.
    pub fn deed(self) -> &'static str {
        match self {
            Self::Read => "read what is declared",
            Self::Operate => "change what is declared",
        }
    }

    /// Which list of the controller's file gives it.
    pub fn list(self) -> &'static str {
        match self {
            Self::Read => "readers",
            Self::Operate => "operators",
        }
    }
}

/// Which users have which role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    own: Uid,
    operators: Vec<Uid>,
    readers: Vec<Uid>,
}

impl Access {
    /// `own` is the user that the controller runs as.
    pub fn new(own: Uid, operators: Vec<Uid>, readers: Vec<Uid>) -> Self {
        Self { own, operators, readers }
    }

    /// The role of a user, if he has one.
    pub fn role(&self, uid: Uid) -> Option<Role> {
        if uid.is_root() || uid == self.own || self.operators.contains(&uid) {
            Some(Role::Operate)
        } else if self.readers.contains(&uid) {
            Some(Role::Read)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_the_role_that_the_file_gives_and_root_has_all() {
        let uids = |list: &[u32]| list.iter().copied().map(Uid::from_raw).collect::<Vec<_>>();
        let access = Access::new(Uid::from_raw(990), uids(&[1000]), uids(&[1000, 1001, 0]));
        for (uid, role) in [
            (0, Some(Role::Operate)),
            (990, Some(Role::Operate)),
            (1000, Some(Role::Operate)),
            (1001, Some(Role::Read)),
            (1002, None),
            (65_534, None),
            (u32::MAX, None),
        ] {
            assert_eq!(access.role(Uid::from_raw(uid)), role, "{uid}");
        }
        assert!(Role::Read < Role::Operate);
    }
}
