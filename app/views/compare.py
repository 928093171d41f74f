from promptlearn_app.compare import page

page()
