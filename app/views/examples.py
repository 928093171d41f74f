from promptlearn_app.examples import page

page()
