"""What a sending task has on its bench: database, client, keys, and the page that the campaign speaks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otn.errors import ConfigurationError
from otn.orchestration.hook import MessengerHook, make_engine, read_keyring
from otn.orchestration.runs import current, note

if TYPE_CHECKING:
    from otn.crypto import Keyring
    from otn.database import Engine
    from otn.messenger.client import MessengerClient
    from otn.settings import PageSettings


@dataclass(frozen=True)
class Bench:
    """Everything a sender needs.

    Args:
        engine: the project's database.
        client: speaks for the page.
        keyring: opens tokens.
        settings: the page's pace and batch size.
        campaign: its row, as ``find_campaign`` gives it.
    """

    engine: Engine
    client: MessengerClient
    keyring: Keyring
    settings: PageSettings
    campaign: Any

    @classmethod
    def of_campaign(cls, campaign_id: int) -> Bench:
        """Lay it out for a campaign, and note that this run works on it.

        Raises:
            ConfigurationError: the page's connection is incomplete, or speaks for another page by now.
        """
        from otn.campaign import token_rules
        from otn.campaign.state import CampaignUnknownError
        from otn.database import queries, transaction

        engine = make_engine()
        with transaction(engine) as connection:
            row = queries("campaign").find_campaign(connection, campaign_id=campaign_id)
        if row is None:
            raise CampaignUnknownError(f"There is no campaign number {campaign_id}. Clear the first task of the run.")
        note(engine, campaign_id, current())
        hook = MessengerHook(row.connection_id)
        refuse_other_page(hook.settings, row.facebook_page_id)
        with transaction(engine) as connection:
            rules = token_rules.load(connection, row.page_id, hook.settings.api_version)
        return cls(engine, hook.spending(rules), read_keyring(), hook.settings, row)


def refuse_other_page(settings: PageSettings, facebook_page_id: str) -> None:
    """Tokens belong to one page: another page's access token must never be tried with them.

    Raises:
        ConfigurationError: the connection's login names another page.
    """
    if settings.page_id != facebook_page_id:
        raise ConfigurationError(
            f"The connection {settings.connection_id!r} is registered for page {facebook_page_id}, "
            f"but its login names page {settings.page_id}. Correct the login."
        )
