//! Questions to the VM, and topics.

use std::sync::Arc;

use loom::thread;
use sockeye_protocol::handshake::Refusal;

use crate::server::topics::TopicTable;
use crate::vm::question::{Answer, Questions};

pub(super) fn a_question_has_one_end() {
    let questions = Arc::new(Questions::default());
    let (token, mut receiver) = questions.open().unwrap();
    let (theirs, others) = (questions.clone(), questions.clone());
    let answerer = thread::spawn(move || {
        theirs
            .answer(token, Answer::Respond(Refusal::new(418, "")))
            .is_ok()
    });
    let forgetter = thread::spawn(move || others.forget());
    let answered = answerer.join().unwrap();
    forgetter.join().unwrap();
    assert_eq!(receiver.try_recv().is_ok(), answered);
    assert!(
        questions
            .answer(token, Answer::Respond(Refusal::new(418, "")))
            .is_err()
    );
}

pub(super) fn a_topic_that_is_entered_is_found() {
    let table = Arc::new(TopicTable::default());
    let other = table.clone();
    let (first, _) = table.enter(b"a", 0, 2);
    let leaver = thread::spawn(move || other.leave(&first, 0));
    let (again, new) = table.enter(b"a", 1, 2);
    let was_last = leaver.join().unwrap();
    assert_eq!(
        new, was_last,
        "a topic begins anew when its last subscription has ended"
    );
    assert!(table.find(b"a").iter().any(|topic| topic.is_on(1)));
    assert!(table.leave(&again, 1));
    assert!(table.find(b"a").is_empty());
}
