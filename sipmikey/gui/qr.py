"""A QR as a picture."""

from __future__ import annotations

from PySide6.QtGui import QColor, QImage, QPixmap

DOT = 4
"""Pixels of a dot."""

BORDER = 4
"""Dots that are left white around it, which a reader needs."""


def qr_picture(address: str) -> QPixmap | None:
    """Return a QR of *address*, None where segno is not installed."""
    try:
        import segno
    except ModuleNotFoundError:
        return None
    rows = segno.make(address, micro=False).matrix
    size = len(rows) + 2 * BORDER
    image = QImage(size, size, QImage.Format.Format_RGB32)
    image.fill(QColor("white"))
    for y, row in enumerate(rows, BORDER):
        for x, dot in enumerate(row, BORDER):
            if dot:
                image.setPixelColor(x, y, QColor("black"))
    return QPixmap.fromImage(image.scaled(size * DOT, size * DOT))
