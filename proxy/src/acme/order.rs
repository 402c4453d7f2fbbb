//! One certificate, from the order to its chain.

use std::time::Duration;

use instant_acme::{
    AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order, OrderStatus,
    RetryPolicy,
};

use super::Failure;
use super::challenge::{Challenges, Showing};
use super::store::{Ordered, Store};
use crate::config;

/// The authority asks for the challenge, and makes the certificate, within this.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(90));

/// What we are to the authority.
pub(super) struct Account(instant_acme::Account);

impl Account {
    /// The one that is kept, if it is of this authority, or else a new one.
    pub(super) async fn of(settings: &config::Acme, store: &Store) -> Result<Self, Failure> {
        let builder = || match &settings.authorities {
            Some(path) => instant_acme::Account::builder_with_root(path),
            None => instant_acme::Account::builder(),
        };
        if let Some(credentials) = store.account(&settings.directory)? {
            return Ok(Self(builder()?.from_credentials(credentials).await?));
        }
        let contact: Vec<&str> = settings.contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let directory = settings.directory.clone();
        let (account, credentials) = builder()?.create(&new, directory, None).await?;
        tracing::info!(
            directory = settings.directory,
            "an account with the authority was made"
        );
        store.keep_account(&settings.directory, &credentials)?;
        Ok(Self(account))
    }

    /// A certificate for these hosts.
    pub(super) async fn order(
        &self,
        hosts: &[String],
        kind: config::Challenge,
        challenges: &Challenges,
    ) -> Result<Ordered, Failure> {
        let hosts: Vec<_> = hosts.iter().cloned().map(Identifier::Dns).collect();
        let mut order = self.0.new_order(&NewOrder::new(&hosts)).await?;
        // Shown to the end of the order, whatever it is.
        let _shown = match prove(&mut order, kind, challenges).await {
            Ok(shown) => shown,
            // One host may have been refused before the next was to be proved.
            Err(failure) => return Err(refused(&mut order).await.unwrap_or(failure)),
        };
        match order.poll_ready(&PATIENCE).await {
            Ok(OrderStatus::Ready) => {}
            Ok(other) => {
                let other = Failure::Order(format!("{other:?}").to_lowercase());
                return Err(refused(&mut order).await.unwrap_or(other));
            }
            // The order says less of it than what was to be proved.
            Err(error) => return Err(refused(&mut order).await.unwrap_or(error.into())),
        }
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&PATIENCE).await?;
        Ok(Ordered { chain, key })
    }
}

/// Answers all challenges of the order.
async fn prove<'a>(
    order: &mut Order,
    kind: config::Challenge,
    challenges: &'a Challenges,
) -> Result<Vec<Showing<'a>>, Failure> {
    let (wanted, name) = match kind {
        config::Challenge::Http => (ChallengeType::Http01, "http-01"),
        config::Challenge::TlsAlpn => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
    };
    let mut shown = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        // One that was proved a little while ago is.
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let challenge = authorization.challenge(wanted.clone());
        let mut challenge = challenge.ok_or(Failure::NoSuchChallenge(name))?;
        let proof = challenge.key_authorization();
        shown.push(match kind {
            config::Challenge::Http => challenges.show_page(&challenge.token, proof.as_str()),
            config::Challenge::TlsAlpn => {
                let host = challenge.identifier().to_string();
                challenges.show_certificate(&host, proof.digest().as_ref())?
            }
        });
        challenge.set_ready().await?;
    }
    Ok(shown)
}

/// What the authority did not like, if it says so.
async fn refused(order: &mut Order) -> Option<Failure> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let host = authorization.identifier().to_string();
        let Ok(state) = authorization.refresh().await else {
            continue;
        };
        let error = state.challenges.iter().find_map(|one| one.error.as_ref());
        if let Some(problem) = error {
            let why = problem.to_string();
            return Some(Failure::Challenge { host, why });
        }
    }
    None
}
