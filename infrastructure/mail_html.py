"""The HTML part of mails. Importing this loads the template engine."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from application.ports.mail import Mail


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("infrastructure"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("mail.html")


def html_of(mail: Mail) -> str:
    """The content of `mail` as a page that loads nothing: its styles stand in its elements."""
    return _template().render(mail=mail)
