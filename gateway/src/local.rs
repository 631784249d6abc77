//! Pages for people of this machine alone, behind the same door as the gateway: names of this machine as hosts, no page
//! of another origin, and the gateway's limits of connections.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use tokio::net::TcpListener;

use crate::access::{Hosts, Origins, Sender};
use crate::error::Advice;
use crate::{GRACE, refuse, sockets};

/// Serves `pages` until `stop` resolves; what is running then gets a while to end.
pub async fn serve(listener: TcpListener, pages: Router, stop: impl Future<Output = ()>) {
    let advice = Advice { origins: "it is one of its own".to_owned(), ..Advice::default() };
    let pages = pages.layer(middleware::from_fn_with_state(Arc::new(advice), check));
    let connections = sockets::serve(listener, pages, sockets::Limits::default(), stop).await;
    // Whoever is not done by then is left.
    let _ = tokio::time::timeout(GRACE, connections.ended()).await;
}

async fn check(State(advice): State<Arc<Advice>>, request: Request, next: Next) -> Response {
    match Sender::check(request.headers(), &Origins::default(), &Hosts::loopback(), &advice) {
        Ok(_) => next.run(request).await,
        Err(error) => refuse(&error),
    }
}
