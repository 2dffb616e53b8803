import inspect
from dataclasses import dataclass

from xmodctl.core.requests import command


@dataclass(frozen=True)
class Greeting:
    """Args:
    name: Who is greeted.
    """

    name: str
    times: int = 1


@command(Greeting)
def greet(request: Greeting) -> str:
    """Greet somebody."""
    return " ".join([f"hello {request.name}"] * request.times)


def test_a_command_is_called_with_the_fields_of_its_request():
    assert greet("Ada") == "hello Ada"
    assert greet(name="Ada", times=2) == "hello Ada hello Ada"
    assert greet.__wrapped__(Greeting("Ada")) == "hello Ada"


def test_a_command_shows_the_options_of_its_request():
    assert list(inspect.signature(greet).parameters) == ["name", "times"]
    assert inspect.signature(greet).return_annotation is str
    assert "Greet somebody." in greet.__doc__
    assert "Who is greeted." in greet.__doc__
