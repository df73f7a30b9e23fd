//! The lab: ferryd against real peers, and the commands that prove the project.
