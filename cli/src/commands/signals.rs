//! Waiting for the person, or the system, to end a program that serves.

use sahara::embedding::Stop;

/// Is set at the first Ctrl-C or SIGTERM, so that work can end in good order; a second one ends the program at once.
pub fn stop_when_interrupted() -> Stop {
    let stop = Stop::default();
    let shared = stop.clone();
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            stopped().await;
            shared.set();
            stopped().await;
            std::process::exit(130);
        });
    });
    stop
}

/// Resolves at Ctrl-C or SIGTERM.
pub async fn stopped() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    () = interrupt => {}
                    _ = terminate.recv() => {}
                }
            }
            Err(_) => interrupt.await,
        }
    }
    #[cfg(not(unix))]
    interrupt.await;
}
