"""A page of HTML taken apart, for the tests of reports."""

from html.parser import HTMLParser


class Reader(HTMLParser):
    """Tags with their attributes, headings and visible text of a page; a tag closed out of turn is an error."""

    VOID = {'meta', 'link', 'img', 'source', 'line', 'path', 'circle'}

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.headings, self.text, self.styles = [], [], [], '', ''
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ['style']:
            self.styles += data
        elif self.open[-1:] != ['script']:
            self.text += data
        if self.open[-1:] in (['h2'], ['h3']):
            self.headings.append(data.strip())

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]
