from promptlearn_app.failures import page

page()
