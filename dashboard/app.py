"""The script that Streamlit runs for each reader: the list of pages."""

from __future__ import annotations

import streamlit as st

from foreshock.dashboard import access, alerts, frame, health, now, stories, topic

st.set_page_config(page_title="Foreshock", layout="wide")
frame.dress()
PAGES = [
    st.Page(now.page, title="Now", url_path="now", default=True),
    st.Page(topic.page, title="Topic", url_path="Topic"),
    st.Page(alerts.page, title="Alerts", url_path="Alerts"),
    st.Page(stories.page, title="Stories", url_path="Stories"),
    st.Page(health.page, title="Health", url_path="Health"),
]
chosen = st.navigation(PAGES, position="top")
st.set_page_config(page_title=f"{chosen.title} – Foreshock")
# On a phone, Streamlit's menu opens over the page and stays open. style.css shows this row of links there instead.
with st.container(key="fs-menu", horizontal=True):
    for page in PAGES:
        st.page_link(page)
if access.admitted():
    chosen.run()
