from promptlearn_app.settings import page

page()
